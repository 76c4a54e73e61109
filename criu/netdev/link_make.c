/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The devices of all namespaces at restore. Each is made with its number; of a veth both ends by one message. One that
 * stands on another one is made after it, in whatever namespace that is. What is made outside (the other end of a veth)
 * or taken from there has an entry in the undo log.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/net_namespace.h>
#include <linux/veth.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "files/net_ns.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "netdev/link.h"
#include "options/external.h"
#include "undo/guardian.h"

unsigned if_nametoindex(const char *name); /* <net/if.h> and <linux/if.h> cannot be included together */

struct making {
	struct restore *r;
	const struct net_all *all;
	const struct net *net; /* where we are */
	struct rtnl rtnl;
};

/* ---- what comes from outside ---- */

/* "veth[eth0]:hv0@br0", "macvlan[eth0]:eth1", "netdev[eth0]:eth1"; NULL: not named. */
const char *link_outside(struct restore *r, const char *what, const NetDeviceEntry *e)
{
	char resource[IFNAMSIZ + 16];

	snprintf(resource, sizeof(resource), "%s[%s]", what, e->name);
	for (size_t i = 0; !strcmp(what, "veth") && i < r->opts->n_veth_pairs; i++)
		if (!strncmp(r->opts->veth_pairs[i], e->name, strlen(e->name)) &&
		    r->opts->veth_pairs[i][strlen(e->name)] == '=')
			return r->opts->veth_pairs[i] + strlen(e->name) + 1;
	return external_value(r->opts, resource);
}

/* The name before "@", in the arena; *bridge: what is behind, or NULL. */
const char *link_name_outside(struct restore *r, const char *value, const char **bridge)
{
	const char *at = strchr(value, '@');

	*bridge = at ? at + 1 : NULL;
	return at ? arena_printf(r->arena, "%.*s", (int)(at - value), value) : value;
}

static bool is_device_name(const char *name)
{
	return *name && strlen(name) < IFNAMSIZ && !strchr(name, '/') && !strchr(name, '%') && strcmp(name, ".") &&
	       strcmp(name, "..");
}

bool link_made_outside(const NetDeviceEntry *e)
{
	return e->type == ND_TYPE__VETH && e->has_peer_ifindex && !e->has_peer_nsid;
}

/* ---- the check ---- */

/* The namespace of the dumped tree, and with it the other end, is taken apart by a work queue after its last process.
 */
static bool exists_still(const char *name)
{
	for (int i = 0; i < LINK_WAIT_MS / 10; i++) {
		const struct timespec pause = { .tv_nsec = 10000000 };

		if (!if_nametoindex(name))
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

static const char *problem_of_link(struct restore *r, const NetDeviceEntry *e)
{
	const char *value = NULL, *bridge = NULL, *name;

	if (!is_device_name(e->name))
		return "an impossible name";
	if (!e->ifindex || e->ifindex > INT32_MAX)
		return "an impossible number";
	if (e->alias && strlen(e->alias) >= IFALIASZ)
		return "an impossible alias";
	if (e->has_token && e->token.len != 16)
		return "an impossible IPv6 token";
	for (size_t i = 0; i < e->n_altnames; i++)
		if (!*e->altnames[i] || strlen(e->altnames[i]) >= ALTIFNAMSIZ)
			return "an impossible other name (IFLA_ALT_IFNAME)";
	if (e->type == ND_TYPE__LOOPBACK)
		return e->ifindex == 1 ? NULL : "a loopback device that is not number 1";
	if (e->type == ND_TYPE__EXTLINK) {
		value = link_outside(r, "netdev", e);
		if (!value)
			return arena_printf(
			    r->arena,
			    "it was dumped as external: give --external netdev[%s]:DEVICE, which is moved "
			    "into the namespace",
			    e->name);
	} else if (!link_kind_of(e)) {
		return arena_printf(r->arena, "devices of the type %s (%d) are not supported", e->kind ?: "unknown",
		                    e->type);
	}
	if (e->type == ND_TYPE__MACVLAN && !e->has_peer_nsid) {
		value = link_outside(r, "macvlan", e);
		if (!value)
			return arena_printf(
			    r->arena, "it stands on a device outside: give --external macvlan[%s]:DEVICE", e->name);
	}
	if (value && !if_nametoindex(value))
		return arena_printf(r->arena, "there is no device %s, which --external names", value);
	value = link_made_outside(e) ? link_outside(r, "veth", e) : NULL;
	if (!value)
		return NULL;
	name = link_name_outside(r, value, &bridge);
	if (!is_device_name(name) || exists_still(name))
		return arena_printf(r->arena, "a device with the name of its other end, %s, exists already", name);
	return bridge && !if_nametoindex(bridge) ? arena_printf(r->arena, "there is no bridge %s", bridge) : NULL;
}

int link_check_all(struct restore *r, const struct net *net)
{
	for (size_t i = 0; i < net->n_devs; i++) {
		const char *why = problem_of_link(r, net->devs[i]);

		if (why)
			log_refusal(-EINVAL, "netdev-%u.img: device %s: %s", net->id, net->devs[i]->name, why);
	}
	return 0;
}

/* ---- undo ---- */

static int remove_link(const char *name)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err = rtnl_open(&r);

	if (err)
		return err;
	h = rtnl_message(&r, RTM_DELLINK, 0, sizeof(*ifi), &ifi);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	err = rtnl_do(&r, h);
	return err == -ENODEV ? -ENOENT : err;
}

static int undo_link(const struct undo *u)
{
	return remove_link(u->path);
}

/* Out of the namespace again, with its old name: fd is of the namespace, addr the number of the device in it. */
static int undo_move(const struct undo *u)
{
	_cleanup_close_ int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err = own < 0 ? -errno : net_visit_begin(u->fd, &v);

	err = err ?: rtnl_open(&r);
	if (err)
		return err;
	h = rtnl_message(&r, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);
	ifi->ifi_index = (int)u->addr;
	ifi->ifi_change = IFF_UP;
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)own);
	mnl_attr_put_strz(h, IFLA_IFNAME, u->path);
	err = rtnl_do(&r, h);
	return err == -ENODEV ? -ENOENT : err;
}

static int note_outside(struct making *g, undo_fn call, const NetDeviceEntry *e, const char *name)
{
	struct undo u = { .type = UNDO_CALL, .call = call, .path = name, .addr = e->ifindex };
	int number;

	u.fd = call == undo_move ? net_ns_fd(g->r, g->net->id) : -1;
	number = guardian_note(g->r->guardian, &u);
	return MIN(number, 0);
}

/* ---- one message ---- */

/* Where a device of the tree is already: a veth that came with its other end, lo, tunnels that the kernel makes. */
static bool is_there(const NetDeviceEntry *e)
{
	return if_nametoindex(e->name) == e->ifindex || e->type == ND_TYPE__LOOPBACK;
}

static const struct net *net_of_id(const struct net_all *all, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->id == id)
			return all->v[i];
	return NULL;
}

const NetDeviceEntry *link_find(const struct net *net, uint32_t ifindex)
{
	for (size_t i = 0; net && i < net->n_devs; i++)
		if (net->devs[i]->ifindex == ifindex)
			return net->devs[i];
	return NULL;
}

static void put_bytes(struct nlmsghdr *h, uint16_t type, const ProtobufCBinaryData *b)
{
	if (b->len && b->len < RTNL_BUFFER / 4)
		mnl_attr_put(h, type, b->len, b->data);
}

/* The other end of a veth: in the namespace of the tree that it belongs to, or outside. */
static int put_peer(struct making *g, struct nlmsghdr *h, const NetDeviceEntry *e)
{
	const NetDeviceEntry *peer =
	    e->has_peer_nsid ? link_find(net_of_id(g->all, e->peer_nsid), e->peer_ifindex) : NULL;
	const char *value = link_made_outside(e) ? link_outside(g->r, "veth", e) : NULL, *bridge;
	struct nlattr *nest = mnl_attr_nest_start(h, VETH_INFO_PEER);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	int err = 0;

	if (e->has_peer_nsid && !peer)
		return log_errno(-EINVAL, "netdev-%u.img: the other end of %s (%u in namespace %u) is missing",
		                 g->net->id, e->name, e->peer_ifindex, e->peer_nsid);
	if (peer) {
		ifi->ifi_index = (int)peer->ifindex;
		mnl_attr_put_strz(h, IFLA_IFNAME, peer->name);
		put_bytes(h, IFLA_ADDRESS, &peer->address);
		mnl_attr_put_u32(h, IFLA_MTU, peer->mtu);
		if (peer->tx_queues)
			mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, peer->tx_queues);
		if (peer->rx_queues)
			mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, peer->rx_queues);
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)net_ns_fd(g->r, peer == e ? g->net->id : e->peer_nsid));
	} else {
		if (value) {
			const char *name = link_name_outside(g->r, value, &bridge);

			err = note_outside(g, undo_link, e, name);
			mnl_attr_put_strz(h, IFLA_IFNAME, name);
		}
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)net_ns_own_fd(g->r));
	}
	mnl_attr_nest_end(h, nest);
	return err;
}

/* A bridge takes the lowest address of its ports by itself, and follows them then, unless it is given one. */
static bool has_ports_address(const struct net *net, const NetDeviceEntry *bridge)
{
	const NetDeviceEntry *lowest = NULL;

	for (size_t i = 0; bridge->type == ND_TYPE__BRIDGE && i < net->n_devs; i++) {
		const NetDeviceEntry *e = net->devs[i];

		if (!e->has_master || e->master != bridge->ifindex || e->address.len != bridge->address.len)
			continue;
		if (!lowest || memcmp(e->address.data, lowest->address.data, e->address.len) < 0)
			lowest = e;
	}
	return lowest && lowest->address.len &&
	       !memcmp(lowest->address.data, bridge->address.data, lowest->address.len);
}

static int make_by_message(struct making *g, struct rtnl *r, const NetDeviceEntry *e, struct link_place at)
{
	struct link_message m;
	int err;

	at.address = !has_ports_address(g->net, e);
	link_message_begin(r, e, &at, &m);
	err = e->type == ND_TYPE__VETH ? put_peer(g, m.h, e) : 0;
	link_message_end(&m);
	err = err ?: rtnl_do(r, m.h);
	return err ? log_errno(err, "making the device %s (%s) in network namespace %u%s", e->name,
	                       link_kind_of(e)->name, g->net->id, r->said)
	           : 0;
}

/* On a device outside, or by another namespace of the tree's: the message goes there. */
static int make_on_other(struct making *g, const NetDeviceEntry *e)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl r = { 0 };
	const struct netdev_kind *k = link_kind_of(e);
	const char *outside = link_outside(g->r, k->name, e);
	struct link_place at = { .netns_fd = net_ns_fd(g->r, g->net->id) };
	int err = net_ns_visit(g->r, outside ? 0 : e->peer_nsid, &v) ?: rtnl_open(&r);

	if (!err && k->has_link)
		at.link = outside ? if_nametoindex(outside) : e->peer_ifindex;
	return err ?: make_by_message(g, &r, e, at);
}

/* It lives as long as it is persistent, or until its last descriptor is closed: fd/tun.c takes that back. */
static int make_tun(struct making *g, const NetDeviceEntry *e)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = { .ifr_flags = (short)(e->tun->flags & ~(uint32_t)IFF_PERSIST) };
	unsigned index = e->ifindex;

	if (fd < 0)
		return log_errno(-errno, "device %s: open of /dev/net/tun", e->name);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", e->name);
	if (ioctl(fd, TUNSETIFINDEX, &index) || ioctl(fd, TUNSETIFF, &ifr))
		return log_errno(-errno, "device %s: TUNSETIFINDEX or TUNSETIFF", e->name);
	if ((e->tun->owner != -1 && ioctl(fd, TUNSETOWNER, (long)(uint32_t)e->tun->owner)) ||
	    (e->tun->group != -1 && ioctl(fd, TUNSETGROUP, (long)(uint32_t)e->tun->group)) ||
	    ioctl(fd, TUNSETPERSIST, 1))
		return log_errno(-errno, "device %s: TUNSETOWNER, TUNSETGROUP or TUNSETPERSIST", e->name);
	return 0;
}

/* A device of the host moves in: down, with its new name and number. */
static int move_in(struct making *g, const NetDeviceEntry *e)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl r = { 0 };
	const char *name = link_outside(g->r, "netdev", e);
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err = net_ns_visit(g->r, 0, &v) ?: rtnl_open(&r);

	err = err ?: note_outside(g, undo_move, e, name);
	if (err)
		return err;
	h = rtnl_message(&r, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);
	ifi->ifi_index = (int)if_nametoindex(name);
	ifi->ifi_change = IFF_UP;
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)net_ns_fd(g->r, g->net->id));
	mnl_attr_put_u32(h, IFLA_NEW_IFINDEX, e->ifindex);
	mnl_attr_put_strz(h, IFLA_IFNAME, e->name);
	err = rtnl_do(&r, h);
	return err ? log_errno(err, "moving %s into network namespace %u as %s%s", name, g->net->id, e->name, r.said)
	           : 0;
}

/* ---- all of them ---- */

static bool exists_in(struct making *g, uint32_t ns, uint32_t ifindex)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	struct ifreq ifr = { .ifr_ifindex = (int)ifindex };
	_cleanup_close_ int sock = -1;

	if (net_ns_visit(g->r, ns, &v))
		return true;
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return sock >= 0 && !ioctl(sock, SIOCGIFNAME, &ifr);
}

static bool has_below(struct making *g, const NetDeviceEntry *e)
{
	const struct netdev_kind *k = link_kind_of(e);
	uint32_t below = k && k->has_link ? e->peer_ifindex : link_below(e);

	return !below || !e->has_peer_nsid || exists_in(g, e->peer_nsid, below);
}

static int make_link(struct making *g, const NetDeviceEntry *e)
{
	const struct netdev_kind *k = link_kind_of(e);
	struct link_place here = { .netns_fd = -1 };

	if (e->type == ND_TYPE__EXTLINK)
		return move_in(g, e);
	if (e->type == ND_TYPE__TUN && e->tun)
		return make_tun(g, e);
	if (k->has_link ? !e->has_peer_nsid || e->peer_nsid != g->net->id
	                : k->goes_by_birth && e->has_peer_nsid && e->peer_nsid != g->net->id)
		return make_on_other(g, e);
	if (k->has_link)
		here.link = e->peer_ifindex;
	return make_by_message(g, &g->rtnl, e, here);
}

/* Makes what can be made now; *left: how many could not. */
static int make_some(struct making *g, size_t *left)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit(g->r, g->net->id, &v) ?: rtnl_open(&g->rtnl);

	for (size_t i = 0; !err && i < g->net->n_devs; i++) {
		const NetDeviceEntry *e = g->net->devs[i];

		if (is_there(e))
			continue;
		if (has_below(g, e))
			err = make_link(g, e);
		else
			++*left;
		fault_point("a network device is made");
	}
	rtnl_close(&g->rtnl);
	return err;
}

static int set_nsid(struct rtnl *r, int fd, int32_t nsid)
{
	struct rtgenmsg *m;
	struct nlmsghdr *h = rtnl_message(r, RTM_NEWNSID, 0, sizeof(*m), &m);

	mnl_attr_put_u32(h, NETNSA_FD, (uint32_t)fd);
	mnl_attr_put_u32(h, NETNSA_NSID, (uint32_t)nsid);
	return rtnl_do(r, h);
}

/* Before any device: a link between two namespaces gives each a number for the other. */
static int set_nsids(struct restore *r, const struct net *net)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	int err = net->m->n_nsids ? net_ns_visit(r, net->id, &v) ?: rtnl_open(&rt) : 0;

	for (size_t i = 0; !err && i < net->m->n_nsids; i++) {
		const NetnsId *e = net->m->nsids[i];
		int fd = net_ns_fd(r, e->target_ns_id);

		if (fd < 0 || e->netnsid_value < 0)
			continue;
		err = set_nsid(&rt, fd, e->netnsid_value);
		if (err)
			err = log_errno(err, "network namespace %u: giving namespace %u the number %d%s", net->id,
			                e->target_ns_id, e->netnsid_value, rt.said);
	}
	return err;
}

int link_make_all(struct restore *r, const struct net_all *all)
{
	size_t left = SIZE_MAX, before;
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = set_nsids(r, all->v[i]);
	do {
		before = left;
		left = 0;
		for (size_t i = 0; !err && i < all->n; i++) {
			struct making g = { .r = r, .all = all, .net = all->v[i] };

			err = make_some(&g, &left);
		}
	} while (!err && left && left < before);
	if (!err && left)
		return log_errno(-EINVAL, "%zu network devices of the images stand on devices that are missing", left);
	return err;
}
