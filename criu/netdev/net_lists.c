/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Addresses, routes, rules, neighbours and nexthops: messages of rtnetlink, as `ip addr save` and the like write them.
 * At restore the kernel has made some by itself (127.0.0.1, connected routes, default rules): what is not in the image
 * goes, and what is there already stays.
 */
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_addrlabel.h>
#include <linux/pkt_sched.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "lib/arena_hash.h"
#include "helper/net_visit.h"
#include "lib/log.h"
#include "netdev/link.h"
#include "netdev/net_end.h"
#include "netdev/netdev.h"

#define MOST_ATTRS 64
#define KEY_MAX    16384

struct list_kind {
	const char *what;
	uint16_t new, del, get;
	uint8_t families[2];
	size_t head;
	/* Whether one of these is part of the image. */
	bool (*keep)(const struct nlmsghdr *h);
	/* The attributes that are not the same when the object is. */
	uint64_t passing;
	/* Its flags and times are set again also where it is there already. */
	bool update;
};

/* ---- what belongs into an image ---- */

static bool keep_any(const struct nlmsghdr *h)
{
	return true;
}

/* Those of table local are the kernel's, made with the addresses; so are copies (cached, redirected, multicast). */
static bool keep_route(const struct nlmsghdr *h)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[MOST_ATTRS + 1];

	if (rtnl_attrs(h, sizeof(*m), tb, MOST_ATTRS) || m->rtm_flags & RTM_F_CLONED ||
	    m->rtm_protocol == RTPROT_REDIRECT)
		return false;
	return !(m->rtm_protocol == RTPROT_KERNEL && rtnl_u32(tb[RTA_TABLE], m->rtm_table) == RT_TABLE_LOCAL);
}

static bool keep_rule(const struct nlmsghdr *h)
{
	return !net_end_is_rule(h);
}

/* An entry of the table of a bridge, or of a vxlan. */
static bool is_fdb(const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);

	return h->nlmsg_type == RTM_NEWNEIGH && m->ndm_family == AF_BRIDGE;
}

/* The kernel itself lists the addresses of ports and devices, and the groups that they listen to. */
static bool is_users_fdb(const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[MOST_ATTRS + 1];

	if (rtnl_attrs(h, sizeof(*m), tb, MOST_ATTRS))
		return false;
	return tb[NDA_MASTER] ? m->ndm_state & NUD_NOARP : tb[NDA_DST] && m->ndm_state & (NUD_PERMANENT | NUD_NOARP);
}

/* What was learned is learned again. */
static bool keep_neighbour(const struct nlmsghdr *h)
{
	const struct ndmsg *m = mnl_nlmsg_get_payload(h);

	if (is_fdb(h))
		return is_users_fdb(h);
	return (m->ndm_state & NUD_PERMANENT || m->ndm_flags & NTF_PROXY) &&
	       (m->ndm_family == AF_INET || m->ndm_family == AF_INET6);
}

#define BIT(n) (1ULL << (n))

static const struct list_kind kinds[NET_LISTS] = {
	[NET_ADDRS] = { .what = "address",
	                .new = RTM_NEWADDR,
	                .del = RTM_DELADDR,
	                .get = RTM_GETADDR,
	                .families = { AF_INET, AF_INET6 },
	                .head = sizeof(struct ifaddrmsg),
	                .keep = keep_any,
	                .passing = BIT(IFA_CACHEINFO) | BIT(IFA_FLAGS),
	                .update = true },
	[NET_ROUTES] = { .what = "route",
	                 .new = RTM_NEWROUTE,
	                 .del = RTM_DELROUTE,
	                 .get = RTM_GETROUTE,
	                 .families = { AF_INET },
	                 .head = sizeof(struct rtmsg),
	                 .keep = keep_route,
	                 .passing = BIT(RTA_CACHEINFO) },
	[NET_ROUTES6] = { .what = "route",
	                  .new = RTM_NEWROUTE,
	                  .del = RTM_DELROUTE,
	                  .get = RTM_GETROUTE,
	                  .families = { AF_INET6 },
	                  .head = sizeof(struct rtmsg),
	                  .keep = keep_route,
	                  .passing = BIT(RTA_CACHEINFO) },
	[NET_RULES] = { .what = "rule",
	                .new = RTM_NEWRULE,
	                .del = RTM_DELRULE,
	                .get = RTM_GETRULE,
	                .families = { AF_INET, AF_INET6 },
	                .head = sizeof(struct fib_rule_hdr),
	                .keep = keep_rule },
	[NET_NEIGHBOURS] = { .what = "neighbour",
	                     .new = RTM_NEWNEIGH,
	                     .del = RTM_DELNEIGH,
	                     .get = RTM_GETNEIGH,
	                     .families = { AF_UNSPEC, AF_BRIDGE },
	                     .head = sizeof(struct ndmsg),
	                     .keep = keep_neighbour,
	                     .passing = BIT(NDA_CACHEINFO) | BIT(NDA_PROBES),
	                     .update = true },
	[NET_NEXTHOPS] = { .what = "nexthop",
	                   .new = RTM_NEWNEXTHOP,
	                   .del = RTM_DELNEXTHOP,
	                   .get = RTM_GETNEXTHOP,
	                   .head = sizeof(struct nhmsg),
	                   .keep = keep_any,
	                   .update = true },
	[NET_ADDRLABELS] = { .what = "address label",
	                     .new = RTM_NEWADDRLABEL,
	                     .del = RTM_DELADDRLABEL,
	                     .get = RTM_GETADDRLABEL,
	                     .families = { AF_INET6 },
	                     .head = sizeof(struct ifaddrlblmsg),
	                     .keep = keep_any },
	[NET_QDISCS] = { .new = RTM_NEWQDISC, .head = sizeof(struct tcmsg) }, /* net_qdisc.c */
};

/* ---- lists ---- */

struct list_reading {
	struct arena *arena;
	const struct list_kind *k;
	struct net_bytes *out;
	size_t room;
};

static int add_message(const struct nlmsghdr *h, void *arg)
{
	struct list_reading *g = arg;
	size_t len = NLMSG_ALIGN(h->nlmsg_len);

	if (h->nlmsg_type != g->k->new || mnl_nlmsg_get_payload_len(h) < g->k->head || !g->k->keep(h))
		return 0;
	if (g->out->n + len > g->room) {
		char *more = arena_alloc(g->arena, g->room = 2 * g->room + len + 4096);

		memcpy(more, g->out->v ?: "", g->out->n);
		g->out->v = more;
	}
	memcpy(g->out->v + g->out->n, h, h->nlmsg_len);
	g->out->n += len;
	return 0;
}

int net_list_read(struct arena *a, struct rtnl *r, uint16_t get, uint16_t type, size_t head, struct net_bytes *out)
{
	const struct list_kind k = { .new = type, .head = head, .keep = keep_any };
	struct list_reading g = { .arena = a, .k = &k, .out = out };

	*out = (struct net_bytes) { 0 };
	return rtnl_list_headed(r, get, head, add_message, &g);
}

#define ASK_AGAIN 5

/* The kernel may lack IPv6, nexthops or rules. */
static int read_list(struct arena *a, struct rtnl *r, const struct list_kind *k, struct net_bytes *out)
{
	int err = 0;

	for (int times = 0; times < ASK_AGAIN; times++) {
		struct list_reading g = { .arena = a, .k = k, .out = out };

		*out = (struct net_bytes) { 0 };
		err = 0;
		for (size_t i = 0; !err && i < ARRAY_SIZE(k->families) && (!i || k->families[i]); i++) {
			err = rtnl_list(r, k->get, k->families[i], add_message, &g);
			if (err == -EOPNOTSUPP || err == -EAFNOSUPPORT)
				err = 0;
		}
		if (!err && k->get == RTM_GETNEIGH)
			err = rtnl_list_proxies(r, add_message, &g);
		if (err != -EINTR)
			break;
	}
	return err ? log_errno(err, "rtnetlink: listing each %s%s", k->what, r->said) : 0;
}

/* Without the numbers of the answer. */
static void level_labels(struct net_bytes *b)
{
	int left = (int)b->n;

	for (struct nlmsghdr *h = (void *)b->v; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		h->nlmsg_seq = h->nlmsg_pid = 0;
		((struct ifaddrlblmsg *)mnl_nlmsg_get_payload(h))->ifal_seq = 0;
	}
}

/* A new namespace has some, too. */
static int drop_usual_labels(struct net *net, int fresh)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct net_bytes *b = &net->list[NET_ADDRLABELS], usual = { 0 };
	int err = net_visit_begin(fresh, &v) ?: rtnl_open(&r);

	err = err ?: read_list(net->arena, &r, &kinds[NET_ADDRLABELS], &usual);
	if (err)
		return err;
	level_labels(b);
	level_labels(&usual);
	if (b->n == usual.n && !memcmp(b->v ?: "", usual.v ?: "", usual.n))
		*b = (struct net_bytes) { 0 };
	return 0;
}

int net_lists_look(struct net *net, int fresh)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	int err = rtnl_open(&r);

	for (size_t i = 0; !err && i < NET_QDISCS; i++)
		err = read_list(net->arena, &r, &kinds[i], &net->list[i]);
	return err ?: drop_usual_labels(net, fresh);
}

/* ---- restore: what is the same ---- */

static const struct nlmsghdr *first_message(const struct net_bytes *b, int *left)
{
	*left = (int)b->n;
	return (const void *)b->v;
}

/*
 * A key that two messages of the same object share: the header but for flags that the kernel sets by itself, and the
 * attributes but for what passes.
 */
static size_t key_of(const struct list_kind *k, const struct nlmsghdr *h, char *key, size_t room)
{
	size_t n = k->head;
	const struct nlattr *a;

	memcpy(key, mnl_nlmsg_get_payload(h), k->head);
	if (k->new == RTM_NEWROUTE)
		((struct rtmsg *)(void *)key)->rtm_flags &= RTNH_F_ONLINK | RTNH_F_PERVASIVE;
	if (k->new == RTM_NEWADDR)
		((struct ifaddrmsg *)(void *)key)->ifa_flags = 0;
	if (k->new == RTM_NEWNEIGH)
		((struct ndmsg *)(void *)key)->ndm_state = 0;
	if (k->new == RTM_NEWNEXTHOP)
		((struct nhmsg *)(void *)key)->nh_flags &= RTNH_F_ONLINK;
	if (k->new == RTM_NEWADDRLABEL)
		((struct ifaddrlblmsg *)(void *)key)->ifal_seq = 0;
	mnl_attr_for_each(a, h, (unsigned)NLMSG_ALIGN(k->head))
	{
		size_t len = MNL_ALIGN(a->nla_len);

		if (k->passing & BIT(mnl_attr_get_type(a) & 63) || n + len > room)
			continue;
		memset(key + n, 0, len);
		memcpy(key + n, a, a->nla_len);
		n += len;
	}
	return n;
}

struct known {
	const char *key;
	const struct nlmsghdr *h;
	bool found;
	UT_hash_handle hh;
};

static struct known *find_known(struct known *all, const struct list_kind *k, const struct nlmsghdr *h)
{
	char key[KEY_MAX];
	struct known *n = NULL;
	size_t len = key_of(k, h, key, sizeof(key));

	HASH_FIND(hh, all, key, len, n);
	return n;
}

static struct known *index_list(struct arena *a, const struct list_kind *k, const struct net_bytes *b)
{
	struct known *all = NULL;
	int left;

	for (const struct nlmsghdr *h = first_message(b, &left); mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
		struct known *n;
		char key[KEY_MAX];
		size_t len;

		if (find_known(all, k, h))
			continue;
		len = key_of(k, h, key, sizeof(key));
		n = arena_new_of(a, struct known);
		n->key = arena_memdup(a, key, len);
		n->h = h;
		HASH_ADD_KEYPTR_IN(a, hh, all, n->key, len, n);
	}
	return all;
}

/* ---- restore: messages that the kernel takes ---- */

/* Attributes that come with an object, and are not taken back (they say it twice, or say what the kernel knows). */
static uint64_t left_out(const struct list_kind *k, const struct nlattr **tb)
{
	switch (k->new) {
	case RTM_NEWROUTE: /* a route by a nexthop object shows what that says, too */
		return BIT(RTA_CACHEINFO) |
		       (tb[RTA_NH_ID] ? BIT(RTA_GATEWAY) | BIT(RTA_OIF) | BIT(RTA_MULTIPATH) | BIT(RTA_VIA) |
		                            BIT(RTA_ENCAP) | BIT(RTA_ENCAP_TYPE) | BIT(RTA_FLOW)
		                      : 0);
	case RTM_NEWNEXTHOP: /* all that others than the kernel say */
		return ~(BIT(NHA_ID) | BIT(NHA_GROUP) | BIT(NHA_GROUP_TYPE) | BIT(NHA_BLACKHOLE) | BIT(NHA_OIF) |
		         BIT(NHA_GATEWAY) | BIT(NHA_ENCAP_TYPE) | BIT(NHA_ENCAP) | BIT(NHA_FDB) | BIT(NHA_RES_GROUP));
	case RTM_NEWNEIGH:
		return BIT(NDA_CACHEINFO) | BIT(NDA_PROBES) | BIT(NDA_MASTER);
	default:
		return 0;
	}
}

static int is_set(uint64_t bits, unsigned n)
{
	return n < 64 && bits & BIT(n);
}

#define ADDRESS_FLAGS (IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | IFA_F_MCAUTOJOIN)

/* The flags that a user sets. */
static void put_address_flags(struct nlmsghdr *out, const struct nlattr **tb, struct ifaddrmsg *m)
{
	uint32_t flags = rtnl_u32(tb[IFA_FLAGS], m->ifa_flags);

	m->ifa_flags = 0;
	mnl_attr_put_u32(out, IFA_FLAGS, flags & ADDRESS_FLAGS);
}

static struct nlmsghdr *request_of(struct rtnl *r, const struct list_kind *k, const struct nlmsghdr *h, uint16_t type,
                                   uint16_t flags)
{
	const struct nlattr *tb[MOST_ATTRS + 1], *a;
	struct nlmsghdr *out;
	uint64_t skip;
	void *head;

	if (rtnl_attrs(h, k->head, tb, MOST_ATTRS) || h->nlmsg_len > RTNL_BUFFER / 2)
		return NULL;
	skip = left_out(k, tb) | (k->new == RTM_NEWADDR ? BIT(IFA_FLAGS) : 0);
	out = rtnl_message(r, type, flags, k->head, &head);
	memcpy(head, mnl_nlmsg_get_payload(h), k->head);
	mnl_attr_for_each(a, h, (unsigned)NLMSG_ALIGN(k->head))
	{
		if (is_set(skip, mnl_attr_get_type(a)))
			continue;
		mnl_attr_put(out, a->nla_type, mnl_attr_get_payload_len(a), mnl_attr_get_payload(a));
	}
	if (k->new == RTM_NEWADDR)
		put_address_flags(out, tb, head);
	if (is_fdb(h))
		((struct ndmsg *)head)->ndm_flags |= tb[NDA_MASTER] ? NTF_MASTER : NTF_SELF;
	if (k->new == RTM_NEWROUTE)
		((struct rtmsg *)head)->rtm_flags &= RTNH_F_ONLINK;
	if (k->new == RTM_NEWNEXTHOP) {
		((struct nhmsg *)head)->nh_flags &= RTNH_F_ONLINK;
		((struct nhmsg *)head)->nh_scope = 0;
	}
	return out;
}

/* A device that is up has its carrier a moment later, from a work queue; without, there is no nexthop over it. */
static int request(struct rtnl *r, const struct list_kind *k, const struct nlmsghdr *h, uint16_t type, uint16_t flags)
{
	int err = -ENETDOWN;

	for (int i = 0; err == -ENETDOWN && i < LINK_WAIT_MS / 10; i++) {
		const struct timespec pause = { .tv_nsec = 10000000 };
		struct nlmsghdr *out;

		if (i)
			nanosleep(&pause, NULL);
		out = request_of(r, k, h, type, flags);
		err = out ? rtnl_do(r, out) : -EBADMSG;
	}
	return err;
}

static int change_one(struct rtnl *r, const struct list_kind *k, const struct nlmsghdr *h, bool add, bool there)
{
	uint16_t flags = !add ? 0 : there ? NLM_F_CREATE | NLM_F_REPLACE : NLM_F_CREATE;
	int err;

	/* Routes of one destination stand one behind the other, and so do targets of one address of a vxlan. */
	if (add && (k->new == RTM_NEWROUTE || is_fdb(h)))
		flags |= NLM_F_APPEND;
	if (add && k->new == RTM_NEWRULE)
		flags |= NLM_F_EXCL;
	err = request(r, k, h, add ? k->new : k->del, flags);
	if (add && err == -EEXIST)
		return 0;
	if (!add && (err == -ESRCH || err == -ENOENT || err == -EADDRNOTAVAIL))
		return 0;
	return err ? log_errno(err, "rtnetlink: %s a %s%s", add ? "making" : "removing", k->what, r->said) : 0;
}

/* ---- restore: the order ---- */

/* Flags that a user sets, and lifetimes: to set them again would make a route that the kernel had left out. */
static bool same_times(const struct nlmsghdr *a, const struct nlmsghdr *b)
{
	const struct nlmsghdr *both[2] = { a, b };
	uint32_t flags[2], valid[2], preferred[2];

	for (int i = 0; i < 2; i++) {
		const struct ifaddrmsg *m = mnl_nlmsg_get_payload(both[i]);
		const struct nlattr *tb[MOST_ATTRS + 1];
		const struct ifa_cacheinfo *times;

		if (rtnl_attrs(both[i], sizeof(*m), tb, MOST_ATTRS))
			return false;
		times = tb[IFA_CACHEINFO] && mnl_attr_get_payload_len(tb[IFA_CACHEINFO]) >= sizeof(*times)
		            ? mnl_attr_get_payload(tb[IFA_CACHEINFO])
		            : NULL;
		flags[i] = rtnl_u32(tb[IFA_FLAGS], m->ifa_flags) & ADDRESS_FLAGS;
		valid[i] = times ? times->ifa_valid : UINT32_MAX;
		preferred[i] = times ? times->ifa_prefered : UINT32_MAX;
	}
	return flags[0] == flags[1] && valid[0] == valid[1] && preferred[0] == preferred[1];
}

/* A route by way of another one comes after it: what is unreachable is tried again as long as one more succeeds. */
static int add_missing(struct arena *a, struct rtnl *r, const struct list_kind *k, const struct net_bytes *wanted,
                       struct known *now)
{
	size_t n_left = 0, tried = SIZE_MAX;
	const struct nlmsghdr **again = NULL;
	int left, err = 0;

	for (const struct nlmsghdr *h = first_message(wanted, &left); !err && mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left)) {
		const struct known *there = find_known(now, k, h);

		if (there && (!k->update || is_fdb(h) || (k->new == RTM_NEWADDR &&same_times(h, there->h))))
			continue;
		if (k->new == RTM_NEWROUTE || k->new == RTM_NEWNEXTHOP)
			arena_push(a, &again, &n_left, h);
		else
			err = change_one(r, k, h, true, there != NULL);
	}
	while (!err && n_left && n_left < tried) {
		size_t kept = 0;

		tried = n_left;
		for (size_t i = 0; i < n_left; i++) {
			struct nlmsghdr *out =
			    request_of(r, k, again[i], k->new,
			               NLM_F_CREATE | (k->new == RTM_NEWROUTE ? NLM_F_APPEND : NLM_F_REPLACE));
			int part = out ? rtnl_do(r, out) : -EBADMSG;

			if (part && part != -EEXIST)
				again[kept++] = again[i];
		}
		n_left = kept;
	}
	return err ?: n_left ? change_one(r, k, again[0], true, false) : 0;
}

static bool is_ours_to_remove(const struct net *net, const struct list_kind *k, const struct nlmsghdr *h)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);

	if (k->new == RTM_NEWNEIGH || k->new == RTM_NEWNEXTHOP)
		return false;
	if (k->new == RTM_NEWRULE) /* CRIU saves those of IPv4 alone */
		return net->ours || ((const struct fib_rule_hdr *)(const void *)m)->family == AF_INET;
	if (k->new != RTM_NEWROUTE)
		return true;
	/* CRIU saves the table main alone, and of IPv6 not what the kernel makes. */
	return net->ours || (m->rtm_family == AF_INET && m->rtm_table == RT_TABLE_MAIN);
}

static int remove_others(const struct net *net, struct rtnl *r, const struct list_kind *k, const struct net_bytes *now,
                         struct known *wanted)
{
	int left, err = 0;

	for (const struct nlmsghdr *h = first_message(now, &left); !err && mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left))
		if (!find_known(wanted, k, h) && is_ours_to_remove(net, k, h))
			err = change_one(r, k, h, false, false);
	return err;
}

int net_lists_apply(const struct net *net, enum net_list which)
{
	const struct list_kind *k = &kinds[which];
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct net_bytes now;
	struct known *there, *wanted;
	int err = rtnl_open(&r);

	if (which == NET_ADDRLABELS && !net->list[which].n) /* as a new namespace has them */
		return err;
	err = err ?: read_list(net->arena, &r, k, &now);
	if (err)
		return err;
	there = index_list(net->arena, k, &now);
	wanted = index_list(net->arena, k, &net->list[which]);
	err = add_missing(net->arena, &r, k, &net->list[which], there);
	return err ?: remove_others(net, &r, k, &now, wanted);
}

size_t net_list_head(enum net_list which)
{
	return kinds[which].head;
}

uint16_t net_list_type(enum net_list which)
{
	return kinds[which].new;
}

/* ---- restore: addresses that can be used ---- */

static int count_tentative(const struct nlmsghdr *h, void *n)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[IFA_MAX + 1];
	uint32_t flags;

	if (rtnl_attrs(h, sizeof(*m), tb, IFA_MAX))
		return -EBADMSG;
	flags = rtnl_u32(tb[IFA_FLAGS], m->ifa_flags);
	*(unsigned *)n += flags & IFA_F_TENTATIVE && !(flags & IFA_F_DADFAILED);
	return 0;
}

#define WAIT_MS 300

/* The kernel looks for duplicates of new IPv6 addresses in a work queue, also where that is switched off. */
void net_lists_await_addresses(void)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };

	if (rtnl_open(&r))
		return;
	for (int i = 0; i < WAIT_MS; i++) {
		const struct timespec pause = { .tv_nsec = 1000000 };
		unsigned n = 0;

		if (rtnl_list(&r, RTM_GETADDR, AF_INET6, count_tentative, &n) || !n)
			return;
		nanosleep(&pause, NULL);
	}
}
