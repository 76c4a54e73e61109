/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A network namespace ends with its tree. The kernel takes rules of a namespace that ends away before its devices: a
 * packet that comes in between would be answered for a connection whose socket is gone (RST), and its client lose it.
 * So the devices are set down. But a connection that its program has closed keeps the namespace until its peer has got
 * the rest, and wants the devices: then packets of all other connections are dropped by rules of routing
 * (ip-rule(8)), which the kernel takes away last. A namespace that a restore has made ends too when that fails.
 *
 * One that a process outside of the tree holds may end as soon, with that (unshare(1) waits for its child), or live on,
 * and a restore go back into it: there such rules drop what is for the connections of the tree. That restore removes
 * them.
 */
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "files/files_dump.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "netdev/net_end.h"
#include "netdev/netdev.h"
#include "proc/ns_type.h"
#include "tree/ns_given.h"
#include "undo/guardian.h"

unsigned if_nametoindex(const char *name); /* <net/if.h> and <linux/if.h> cannot be included together */

/* ---- connections, as /proc shows those of the namespace that the thread is in ---- */

struct connection {
	int family;
	uint32_t local[4], remote[4];
	unsigned local_port, remote_port;
};

struct ending {
	struct dump *d;
	struct connection *conns;
	size_t n_conns;
	bool any;     /* a connection of a program's */
	bool of_tree; /* those of the tree are wanted, not those that are closed */
	dev_t sockfs;
};

/* tcp(7): the numbers of states in /proc/net/tcp. */
enum { ESTABLISHED = 1, FIN_WAIT1 = 4, FIN_WAIT2 = 5, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

static bool ends_yet(unsigned state)
{
	return state == FIN_WAIT1 || state == FIN_WAIT2 || state == LAST_ACK || state == CLOSING;
}

/* Words of 32 bits, each as a number of the machine. */
static bool read_address(const char *text, uint32_t out[4], unsigned *port, int family)
{
	size_t words = family == AF_INET ? 1 : 4;

	for (size_t i = 0; i < words; i++)
		if (sscanf(text + 8 * i, "%8x", &out[i]) != 1)
			return false;
	return sscanf(text + 8 * words, ":%x", port) == 1;
}

static bool is_wanted(struct ending *g, unsigned state, unsigned inode)
{
	if (!g->of_tree)
		return !inode && ends_yet(state);
	return inode && (state == ESTABLISHED || state == CLOSE_WAIT || ends_yet(state)) &&
	       files_at(g->d, g->sockfs, inode);
}

static void note_connection(struct ending *g, const char *line, int family)
{
	struct connection c = { .family = family };
	char local[64], remote[64];
	unsigned state, inode;

	if (sscanf(line, "%*s %63s %63s %x %*s %*s %*s %*s %*s %u", local, remote, &state, &inode) != 4)
		return;
	g->any |= inode && (state == ESTABLISHED || state == CLOSE_WAIT || ends_yet(state));
	if (is_wanted(g, state, inode) && read_address(local, c.local, &c.local_port, family) &&
	    read_address(remote, c.remote, &c.remote_port, family))
		arena_push(g->d->arena, &g->conns, &g->n_conns, c);
}

static void note_connections(struct ending *g)
{
	static const struct {
		const char *file;
		int family;
	} lists[] = { { "/proc/thread-self/net/tcp", AF_INET }, { "/proc/thread-self/net/tcp6", AF_INET6 } };

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		_cleanup_fclose_ FILE *f = fopen(lists[i].file, "re");
		char line[512];

		while (f && fgets(line, sizeof(line), f))
			note_connection(g, line, lists[i].family);
	}
}

/* ---- devices that are up ---- */

struct up_device {
	uint32_t index;
	const char *name;
};

struct up_devices {
	struct arena *arena;
	struct up_device *v;
	size_t n;
};

static int note_up(const struct nlmsghdr *h, void *arg)
{
	struct up_devices *all = arg;
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[IFLA_MAX + 1];
	struct up_device dev;

	if (h->nlmsg_type != RTM_NEWLINK || rtnl_attrs(h, sizeof(*ifi), tb, IFLA_MAX) || !tb[IFLA_IFNAME])
		return 0;
	dev.index = (uint32_t)ifi->ifi_index;
	dev.name = arena_printf(all->arena, "%.*s", (int)mnl_attr_get_payload_len(tb[IFLA_IFNAME]),
	                        (const char *)mnl_attr_get_payload(tb[IFLA_IFNAME]));
	if (ifi->ifi_flags & IFF_UP && !(ifi->ifi_flags & IFF_LOOPBACK))
		arena_push(all->arena, &all->v, &all->n, dev);
	return 0;
}

static int set_down(struct rtnl *rt, const struct up_devices *all)
{
	int err = 0;

	for (size_t i = 0; i < all->n && !err; i++) {
		struct ifinfomsg *ifi;
		struct nlmsghdr *h = rtnl_message(rt, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);

		ifi->ifi_index = (int)all->v[i].index;
		ifi->ifi_change = IFF_UP;
		err = rtnl_do(rt, h);
	}
	return err;
}

/* ---- rules ---- */

static struct nlmsghdr *rule_of(struct rtnl *rt, uint16_t type, int family, uint8_t action, const char *iif)
{
	struct fib_rule_hdr *m;
	struct nlmsghdr *h = rtnl_message(rt, type, NLM_F_CREATE, sizeof(*m), &m);

	m->family = (uint8_t)family;
	m->action = action;
	m->table = action == FR_ACT_TO_TBL ? RT_TABLE_LOCAL : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(h, FRA_PRIORITY, 0);
	if (iif) {
		mnl_attr_put_strz(h, FRA_IIFNAME, iif);
		mnl_attr_put_u8(h, FRA_IP_PROTO, IPPROTO_TCP);
	}
	return h;
}

/* A packet of the connection that comes in finds its socket, or is dropped. */
static int add_rule_for(struct rtnl *rt, const struct connection *c, uint8_t action, const char *iif)
{
	struct nlmsghdr *h = rule_of(rt, RTM_NEWRULE, c->family, action, iif);
	struct fib_rule_hdr *m = mnl_nlmsg_get_payload(h);
	struct fib_rule_port_range from = { (uint16_t)c->remote_port, (uint16_t)c->remote_port };
	struct fib_rule_port_range to = { (uint16_t)c->local_port, (uint16_t)c->local_port };
	size_t len = c->family == AF_INET ? 4 : 16;

	m->src_len = m->dst_len = (uint8_t)(8 * len);
	mnl_attr_put(h, FRA_SRC, len, c->remote);
	mnl_attr_put(h, FRA_DST, len, c->local);
	mnl_attr_put(h, FRA_SPORT_RANGE, sizeof(from), &from);
	mnl_attr_put(h, FRA_DPORT_RANGE, sizeof(to), &to);
	mnl_attr_put_u8(h, FRA_PROTOCOL, NET_RULE_OURS);
	return rtnl_do(rt, h);
}

/*
 * All have priority 0, as the rule that leads to local addresses, and stand behind each other in the order in which
 * they were added: so that one is added again at the end, and the first taken away.
 */
static int add_rules(struct rtnl *rt, const struct ending *g, const struct up_devices *all, int family)
{
	uint8_t action = g->of_tree ? FR_ACT_BLACKHOLE : FR_ACT_TO_TBL;
	int err = 0;

	for (size_t i = 0; i < all->n && !err; i++) {
		for (size_t k = 0; k < g->n_conns && !err; k++)
			err = g->conns[k].family == family ? add_rule_for(rt, &g->conns[k], action, all->v[i].name) : 0;
		if (!err && !g->of_tree)
			err = rtnl_do(rt, rule_of(rt, RTM_NEWRULE, family, FR_ACT_BLACKHOLE, all->v[i].name));
	}
	err = err ?: rtnl_do(rt, rule_of(rt, RTM_NEWRULE, family, FR_ACT_TO_TBL, NULL));
	return err ?: rtnl_do(rt, rule_of(rt, RTM_DELRULE, family, FR_ACT_TO_TBL, NULL));
}

/* An IPv4 connection of an IPv6 socket is listed with a mapped address. */
static void unmap(struct connection *c)
{
	if (c->family != AF_INET6 || c->local[0] || c->local[1] || c->local[2] != htonl(0xffff))
		return;
	c->family = AF_INET;
	c->local[0] = c->local[3];
	c->remote[0] = c->remote[3];
}

/* ---- stages ---- */

static bool is_crius(const struct ns *ns)
{
	return ns->id <= NAMESPACE_TYPES;
}

static int prepare_one(struct dump *d, struct net *net)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	const struct ns *ns = &ns_ids_all(d)->all[net->id - 1];
	struct ending g = { .d = d };
	const char *holder;
	int err = net_ns_visit_dumped(d, net->id, &v);

	if (err || is_crius(ns))
		return err;
	note_connections(&g);
	net_visit_end(&v);
	if (!g.any)
		return 0;
	holder = net_holder(d, ns, true);
	net->ends = !holder;
	net->held = holder;
	if (holder)
		log_info("network namespace %u is held by %s, and keeps its devices", net->id, holder);
	return 0;
}

int net_end_prepare(struct dump *d)
{
	const struct net_all *all = dump_state(d, &netdev_subsys);
	int err = 0;

	for (size_t i = 0; i < all->n && !err && dump_kills_tree(d) && d->opts->tcp_established; i++)
		err = prepare_one(d, all->v[i]);
	return err;
}

/* The device of all sockets. */
static int find_sockfs(dev_t *dev)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	*dev = st.st_dev;
	return 0;
}

static int drop_packets(struct rtnl *rt, struct ending *g, const struct up_devices *all)
{
	int err;

	for (size_t i = 0; i < g->n_conns; i++)
		unmap(&g->conns[i]);
	err = add_rules(rt, g, all, AF_INET) ?: add_rules(rt, g, all, AF_INET6);
	return err == -EAFNOSUPPORT ? 0 : err; /* without IPv6 */
}

/* 0 or a negative errno (not always logged). */
static int end_one(struct dump *d, const struct net *net)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	struct up_devices all = { .arena = d->arena };
	struct ending g = { .d = d, .of_tree = net->held };
	int err = net_ns_visit_dumped(d, net->id, &v) ?: rtnl_open(&rt) ?: find_sockfs(&g.sockfs);

	err = err ?: rtnl_list(&rt, RTM_GETLINK, AF_UNSPEC, note_up, &all);
	if (err || !all.n)
		return err;
	note_connections(&g);
	if (net->held)
		return g.n_conns ? drop_packets(&rt, &g, &all) : 0;
	log_info("network namespace %u ends with the tree, or when %zu closed connections have ended", net->id,
	         g.n_conns);
	return g.n_conns ? drop_packets(&rt, &g, &all) : set_down(&rt, &all);
}

void net_end_all(struct dump *d)
{
	const struct net_all *all = dump_state(d, &netdev_subsys);

	for (size_t i = 0; i < all->n; i++) {
		int err = all->v[i]->ends || all->v[i]->held ? end_one(d, all->v[i]) : 0;

		if (err)
			log_warn(
			    "network namespace %u: rtnetlink, to have no packet answered when it ends: %s; one that "
			    "comes before the restore may end a connection",
			    all->v[i]->id, strerror(-err));
	}
}

/* ---- a restore that fails ---- */

static int undo_up(const struct undo *u)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	struct up_devices all = { .arena = arena_new() };
	int err = all.arena ? net_visit_begin(u->fd, &v) : -ENOMEM;

	err = err ?: rtnl_open(&rt);
	err = err ?: rtnl_list(&rt, RTM_GETLINK, AF_UNSPEC, note_up, &all);
	err = err ?: set_down(&rt, &all);
	arena_free(all.arena);
	return err;
}

int net_end_foresee(struct restore *r)
{
	const uint32_t *ids;
	size_t n = net_ns_expected(r, &ids);
	int number = 0;

	for (size_t i = 0; i < n && number >= 0; i++) {
		struct undo u = { .type = UNDO_CALL, .call = undo_up, .fd = net_ns_fd(r, ids[i]) };

		if (u.fd >= 0)
			number = guardian_note(r->guardian, &u);
	}
	return MIN(number, 0);
}

/* ---- a restore into a namespace that was held ---- */

struct our_rules {
	struct arena *arena;
	struct nlmsghdr **v;
	size_t n;
};

bool net_end_is_rule(const struct nlmsghdr *h)
{
	const struct nlattr *tb[FRA_MAX + 1];

	return h->nlmsg_type == RTM_NEWRULE && !rtnl_attrs(h, sizeof(struct fib_rule_hdr), tb, FRA_MAX) &&
	       tb[FRA_PROTOCOL] && mnl_attr_get_payload_len(tb[FRA_PROTOCOL]) >= 1 &&
	       mnl_attr_get_u8(tb[FRA_PROTOCOL]) == NET_RULE_OURS;
}

static int note_our_rule(const struct nlmsghdr *h, void *arg)
{
	struct our_rules *all = arg;

	if (net_end_is_rule(h))
		arena_push(all->arena, &all->v, &all->n, arena_memdup(all->arena, h, h->nlmsg_len));
	return 0;
}

static int remove_rules(struct restore *r, int fd)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	struct our_rules all = { .arena = r->arena };
	int err = net_visit_begin(fd, &v) ?: rtnl_open(&rt);

	err = err ?: rtnl_list(&rt, RTM_GETRULE, AF_INET, note_our_rule, &all);
	err = err ?: rtnl_list(&rt, RTM_GETRULE, AF_INET6, note_our_rule, &all);
	for (size_t i = 0; i < all.n && !err; i++) {
		memcpy(rt.buf, all.v[i], all.v[i]->nlmsg_len);
		((struct nlmsghdr *)rt.buf)->nlmsg_type = RTM_DELRULE;
		((struct nlmsghdr *)rt.buf)->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
		err = rtnl_do(&rt, (struct nlmsghdr *)rt.buf);
	}
	return err == -EAFNOSUPPORT ? 0 : err;
}

/* The network lock of the dump stands there until the connections do. */
int net_end_take_back(struct restore *r)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWNET);
	uint32_t done = 0;
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks && !err; i++) {
		const struct task *t = r->tree.tasks[i];
		int fd = t->ids ? ns_given_fd(r, type, t->ids->net_ns_id) : -1;

		if (fd < 0 || t->ids->net_ns_id == done)
			continue;
		done = t->ids->net_ns_id;
		err = remove_rules(r, fd);
		if (err)
			log_errno(err, "network namespace %u: rtnetlink, to remove rules that a dump has left", done);
	}
	return err;
}
