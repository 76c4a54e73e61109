/* SPDX-License-Identifier: GPL-2.0-only */
/* The devices of a namespace at dump. */
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/net_namespace.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/socket.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "netdev/link.h"
#include "options/external.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

struct looking {
	struct dump *d;
	struct net *net;
};

static const char *text_of(const struct nlattr *a, struct arena *arena)
{
	return a ? arena_printf(arena, "%.*s", (int)mnl_attr_get_payload_len(a), (const char *)mnl_attr_get_payload(a))
	         : "";
}

static bool is_listed(const uint16_t *list, uint16_t type)
{
	while (list && *list && *list != type)
		list++;
	return list && *list;
}

/* The first number in it, or an address of Ethernet. */
static bool is_zero(const struct nlattr *a)
{
	size_t len = mnl_attr_get_payload_len(a);
	static const uint8_t none[ETH_ALEN];

	return !memcmp(mnl_attr_get_payload(a), none, len == sizeof(none) ? len : MIN(len, sizeof(uint32_t)));
}

/* Which attributes of a nest are kept. */
struct kept_list {
	const uint16_t *attrs, *flags, *zero; /* as in struct netdev_kind */
	bool (*takes)(const struct nlattr *const *data, uint16_t attr);
	void (*mend)(struct nlattr *a);
};

static bool is_kept(const struct kept_list *k, const struct nlattr *const *tb, uint16_t type)
{
	return tb[type] && !(is_listed(k->zero, type) && is_zero(tb[type])) && (!k->takes || k->takes(tb, type));
}

/* One behind the other as a message has them. */
static void keep_attrs(struct arena *a, const struct nlattr *const *tb, const struct kept_list *k,
                       ProtobufCBinaryData *out, protobuf_c_boolean *has)
{
	size_t room = 0;

	for (const uint16_t *t = k->attrs; t && *t; t++)
		room += tb[*t] ? MNL_ALIGN(tb[*t]->nla_len) : 0;
	for (const uint16_t *t = k->flags; t && *t; t++)
		room += MNL_ATTR_HDRLEN;
	out->data = arena_alloc(a, room + 1);
	for (const uint16_t *t = k->attrs; t && *t; t++)
		if (is_kept(k, tb, *t)) {
			struct nlattr *to = (void *)(out->data + out->len);

			memcpy(to, tb[*t], tb[*t]->nla_len);
			if (k->mend)
				k->mend(to);
			out->len += MNL_ALIGN(tb[*t]->nla_len);
		}
	for (const uint16_t *t = k->flags; t && *t; t++)
		if (tb[*t] && mnl_attr_get_payload_len(tb[*t]) && mnl_attr_get_u8(tb[*t])) {
			*(struct nlattr *)(void *)(out->data + out->len) =
			    (struct nlattr) { .nla_len = MNL_ATTR_HDRLEN, .nla_type = *t };
			out->len += MNL_ATTR_HDRLEN;
		}
	*has = out->len > 0;
}

/* ---- namespaces of peers ---- */

static int take_nsid(const struct nlmsghdr *h, void *nsid)
{
	const struct nlattr *tb[NETNSA_MAX + 1];

	if (!rtnl_attrs(h, sizeof(struct rtgenmsg), tb, NETNSA_MAX) && tb[NETNSA_NSID])
		*(int32_t *)nsid = (int32_t)rtnl_u32(tb[NETNSA_NSID], (uint32_t)NETNSA_NSID_NOT_ASSIGNED);
	return 0;
}

/* By which number the namespace that we are in knows another one; NETNSA_NSID_NOT_ASSIGNED: by none. */
static int32_t nsid_of(struct rtnl *r, int fd)
{
	struct rtgenmsg *g;
	struct nlmsghdr *h = rtnl_message(r, RTM_GETNSID, 0, sizeof(*g), &g);
	int32_t nsid = NETNSA_NSID_NOT_ASSIGNED;

	mnl_attr_put_u32(h, NETNSA_FD, (uint32_t)fd);
	return rtnl_ask(r, h, take_nsid, &nsid) ? NETNSA_NSID_NOT_ASSIGNED : nsid;
}

static int look_at_nsids(struct dump *d, struct net *net, struct rtnl *r)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++) {
		NetnsId *e;
		int fd;

		if (ids->all[i].type->flag != CLONE_NEWNET || ids->all[i].id <= NAMESPACE_TYPES || ids->all[i].external)
			continue;
		fd = net_ns_fd_dumped(d, ids->all[i].id);
		if (fd < 0)
			return fd;
		e = arena_msg(net->arena, NetnsId, netns_id);
		e->target_ns_id = ids->all[i].id;
		e->netnsid_value = nsid_of(r, fd);
		if (e->netnsid_value >= 0)
			arena_push(net->arena, &net->m->nsids, &net->m->n_nsids, e);
	}
	return 0;
}

/* The number of the namespace in images; 0: none of the tree's. */
static uint32_t ns_of_nsid(const struct net *net, int32_t nsid)
{
	for (size_t i = 0; i < net->m->n_nsids; i++)
		if (net->m->nsids[i]->netnsid_value == nsid)
			return net->m->nsids[i]->target_ns_id;
	return 0;
}

/* Where the device is that this one is linked to: the peer of a veth, the device below. */
static bool find_link_ns(const struct net *net, const struct link_seen *l, uint32_t *id)
{
	int32_t nsid = (int32_t)rtnl_u32(l->tb[IFLA_LINK_NETNSID], (uint32_t)NETNSA_NSID_NOT_ASSIGNED);

	*id = l->tb[IFLA_LINK_NETNSID] ? ns_of_nsid(net, nsid) : net->id;
	return *id;
}

/* ---- one device ---- */

static void refuse_link(const struct net *net, const struct link_seen *l, const char *why)
{
	log_refusal(-ENOTSUP, "network namespace %u: device %s%s%s%s: %s", net->id, l->name, *l->kind ? " (" : "",
	            l->kind, *l->kind ? ")" : "", why);
}

static void check_lost_state(const struct looking *g, const struct link_seen *l)
{
	const struct nlattr *xdp[IFLA_XDP_MAX + 1];

	if (!rtnl_nested(l->tb[IFLA_XDP], xdp, IFLA_XDP_MAX) && xdp[IFLA_XDP_ATTACHED] &&
	    mnl_attr_get_u8(xdp[IFLA_XDP_ATTACHED]))
		refuse_link(g->net, l, "an XDP program is attached, which is not supported: detach it before the dump");
}

static void look_at_inet6(const struct link_seen *l, NetDeviceEntry *e, struct arena *a)
{
	const struct nlattr *families[AF_INET6 + 1], *tb[IFLA_INET6_MAX + 1];
	static const uint8_t none[16];

	if (rtnl_nested(l->tb[IFLA_AF_SPEC], families, AF_INET6) || !families[AF_INET6] ||
	    rtnl_nested(families[AF_INET6], tb, IFLA_INET6_MAX))
		return;
	if (tb[IFLA_INET6_ADDR_GEN_MODE] && mnl_attr_get_payload_len(tb[IFLA_INET6_ADDR_GEN_MODE])) {
		e->has_addrgenmode = true;
		e->addrgenmode = mnl_attr_get_u8(tb[IFLA_INET6_ADDR_GEN_MODE]);
	}
	if (tb[IFLA_INET6_TOKEN] && mnl_attr_get_payload_len(tb[IFLA_INET6_TOKEN]) == sizeof(none) &&
	    memcmp(mnl_attr_get_payload(tb[IFLA_INET6_TOKEN]), none, sizeof(none))) {
		e->has_token = true;
		e->token.len = sizeof(none);
		e->token.data = arena_memdup(a, mnl_attr_get_payload(tb[IFLA_INET6_TOKEN]), sizeof(none));
	}
}

static void look_at_tun(const struct nlattr *const *data, NetDeviceEntry *e, struct arena *a)
{
	TunLinkEntry *t = e->tun = arena_msg(a, TunLinkEntry, tun_link_entry);
	static const struct {
		uint16_t attr, flag;
		bool inverse;
	} bits[] = { { IFLA_TUN_PI, IFF_NO_PI, true },
		     { IFLA_TUN_VNET_HDR, IFF_VNET_HDR, false },
		     { IFLA_TUN_PERSIST, IFF_PERSIST, false },
		     { IFLA_TUN_MULTI_QUEUE, IFF_MULTI_QUEUE, false } };

	t->flags = data[IFLA_TUN_TYPE] ? mnl_attr_get_u8(data[IFLA_TUN_TYPE]) : IFF_TUN;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		if (data[bits[i].attr] && !!mnl_attr_get_u8(data[bits[i].attr]) != bits[i].inverse)
			t->flags |= bits[i].flag;
	t->owner = (int32_t)rtnl_u32(data[IFLA_TUN_OWNER], UINT32_MAX);
	t->group = (int32_t)rtnl_u32(data[IFLA_TUN_GROUP], UINT32_MAX);
}

/* Of a type that has a row. */
static void look_at_kind(const struct looking *g, const struct link_seen *l, const struct netdev_kind *k,
                         NetDeviceEntry *e)
{
	const struct kept_list kept = { k->attrs, k->flags, k->zero, k->takes, k->mend };
	const struct nlattr *data[LINK_DATA_MAX + 1];
	const char *why;
	uint32_t ns;

	e->type = k->type;
	if (k->type == ND_TYPE__OTHER)
		inventory_only_ours(g->d);
	if (k->goes_by_birth && l->tb[IFLA_LINK_NETNSID] && !find_link_ns(g->net, l, &ns))
		refuse_link(g->net, l, "was made in a network namespace outside of the tree, by which its packets go");
	if (rtnl_nested(l->info[IFLA_INFO_DATA], data, LINK_DATA_MAX))
		return;
	why = k->refuse ? k->refuse(l, data) : NULL;
	if (why)
		refuse_link(g->net, l, arena_printf(g->net->arena, "%s is not supported", why));
	keep_attrs(g->net->arena, data, &kept, &e->info_data, &e->has_info_data);
	e->active_port = !strcmp(k->name, "bond") ? rtnl_u32(data[IFLA_BOND_ACTIVE_SLAVE], 0) : 0;
	e->has_active_port = e->active_port;
	if (k->type == ND_TYPE__TUN)
		look_at_tun(data, e, g->net->arena);
	if (k->type == ND_TYPE__MACVLAN && data[IFLA_MACVLAN_MODE]) {
		e->macvlan = arena_msg(g->net->arena, MacvlanLinkEntry, macvlan_link_entry);
		e->macvlan->mode = rtnl_u32(data[IFLA_MACVLAN_MODE], 0);
		e->macvlan->has_flags = data[IFLA_MACVLAN_FLAGS] != NULL;
		e->macvlan->flags = e->macvlan->has_flags ? mnl_attr_get_u16(data[IFLA_MACVLAN_FLAGS]) : 0;
	}
}

/* As it was made: its master has given it another one. */
static void take_own_address(const struct nlattr *own, NetDeviceEntry *e, struct arena *a)
{
	if (!own || mnl_attr_get_payload_len(own) != ETH_ALEN || !e->has_address)
		return;
	e->address.len = ETH_ALEN;
	e->address.data = arena_memdup(a, mnl_attr_get_payload(own), ETH_ALEN);
}

static void look_at_master(const struct looking *g, const struct link_seen *l, NetDeviceEntry *e)
{
	const struct nlattr *data[LINK_DATA_MAX + 1];
	const char *kind = text_of(l->info[IFLA_INFO_SLAVE_KIND], g->net->arena);
	const struct netdev_kind *k = link_kind(kind);
	struct kept_list kept = { 0 };

	if (!l->tb[IFLA_MASTER])
		return;
	e->has_master = true;
	e->master = rtnl_u32(l->tb[IFLA_MASTER], 0);
	if (*kind && !(k && k->has_ports))
		refuse_link(
		    g->net, l,
		    arena_printf(g->net->arena, "is a port of a device of type %s, which is not supported", kind));
	if (!k || !k->port_attrs || rtnl_nested(l->info[IFLA_INFO_SLAVE_DATA], data, LINK_DATA_MAX))
		return;
	kept.attrs = k->port_attrs;
	kept.zero = k->port_zero;
	keep_attrs(g->net->arena, data, &kept, &e->slave_data, &e->has_slave_data);
	if (!strcmp(kind, "bond"))
		take_own_address(data[IFLA_BOND_SLAVE_PERM_HWADDR], e, g->net->arena);
}

static void look_at_type(const struct looking *g, const struct link_seen *l, NetDeviceEntry *e)
{
	const struct netdev_kind *k = link_kind(l->kind);
	char resource[IFNAMSIZ + 16];
	uint32_t ns;

	snprintf(resource, sizeof(resource), "netdev[%s]", l->name);
	if (external_named(g->d->opts, resource) || external_value(g->d->opts, resource)) {
		e->type = ND_TYPE__EXTLINK;
	} else if (l->ifi->ifi_flags & IFF_LOOPBACK) {
		e->type = ND_TYPE__LOOPBACK;
	} else if (!k && !subsys_externals()->dump_link(g->d, (int)e->ifindex, l->ifi->ifi_type, l->kind)) {
		e->type = ND_TYPE__EXTLINK;
	} else if (!k) {
		refuse_link(
		    g->net, l,
		    arena_printf(g->net->arena,
		                 "devices of this type are not supported; remove it before the dump, or give "
		                 "--external netdev[%s], and to the restore --external netdev[%s]:DEVICE, which is "
		                 "moved into the namespace",
		                 l->name, l->name));
	} else {
		e->kind = arena_strdup(g->net->arena, l->kind);
		look_at_kind(g, l, k, e);
	}
	/* One that is linked to none is its own peer, as CRIU has it. */
	e->has_peer_ifindex = true;
	e->peer_ifindex = rtnl_u32(l->tb[IFLA_LINK], e->ifindex);
	e->has_peer_nsid = find_link_ns(g->net, l, &ns);
	e->peer_nsid = ns;
}

static bool parse_link(const struct nlmsghdr *h, struct link_seen *l, struct arena *a)
{
	if (rtnl_attrs(h, sizeof(struct ifinfomsg), l->tb, IFLA_MAX) || !l->tb[IFLA_IFNAME])
		return false;
	l->ifi = mnl_nlmsg_get_payload(h);
	if (rtnl_nested(l->tb[IFLA_LINKINFO], l->info, IFLA_INFO_MAX))
		return false;
	l->name = text_of(l->tb[IFLA_IFNAME], a);
	l->kind = text_of(l->info[IFLA_INFO_KIND], a);
	return true;
}

#define USUAL_MAX_SIZE 65536 /* GSO_LEGACY_MAX_SIZE */
#define USUAL_MAX_SEGS 65535

static void look_at_queues(const struct link_seen *l, NetDeviceEntry *e)
{
	e->tx_queues = rtnl_u32(l->tb[IFLA_NUM_TX_QUEUES], 1);
	e->rx_queues = rtnl_u32(l->tb[IFLA_NUM_RX_QUEUES], 1);
	e->has_tx_queues = e->tx_queues > 1;
	e->has_rx_queues = e->rx_queues > 1;
	e->gso_max_size = rtnl_u32(l->tb[IFLA_GSO_MAX_SIZE], USUAL_MAX_SIZE);
	e->gso_max_segs = rtnl_u32(l->tb[IFLA_GSO_MAX_SEGS], USUAL_MAX_SEGS);
	e->gro_max_size = rtnl_u32(l->tb[IFLA_GRO_MAX_SIZE], USUAL_MAX_SIZE);
	e->has_gso_max_size = e->gso_max_size != USUAL_MAX_SIZE;
	e->has_gso_max_segs = e->gso_max_segs != USUAL_MAX_SEGS;
	e->has_gro_max_size = e->gro_max_size != USUAL_MAX_SIZE;
}

static void look_at_altnames(const struct link_seen *l, NetDeviceEntry *e, struct arena *a)
{
	const struct nlattr *name;

	if (!l->tb[IFLA_PROP_LIST])
		return;
	mnl_attr_for_each_nested(name, l->tb[IFLA_PROP_LIST]) if (mnl_attr_get_type(name) == IFLA_ALT_IFNAME)
	    arena_push(a, &e->altnames, &e->n_altnames, (char *)arena_strdup(a, text_of(name, a)));
}

static int look_at_link(const struct nlmsghdr *h, void *arg)
{
	struct looking *g = arg;
	struct arena *a = g->net->arena;
	struct link_seen l;
	NetDeviceEntry *e;

	if (h->nlmsg_type != RTM_NEWLINK)
		return 0;
	if (!parse_link(h, &l, a))
		return -EBADMSG;
	e = arena_msg(a, NetDeviceEntry, net_device_entry);
	e->ifindex = (uint32_t)l.ifi->ifi_index;
	e->name = arena_strdup(a, l.name);
	e->mtu = rtnl_u32(l.tb[IFLA_MTU], 0);
	e->flags = l.ifi->ifi_flags;
	if (l.tb[IFLA_ADDRESS] && mnl_attr_get_payload_len(l.tb[IFLA_ADDRESS]) && !(l.ifi->ifi_flags & IFF_LOOPBACK)) {
		e->has_address = true;
		e->address.len = mnl_attr_get_payload_len(l.tb[IFLA_ADDRESS]);
		e->address.data = arena_memdup(a, mnl_attr_get_payload(l.tb[IFLA_ADDRESS]), e->address.len);
	}
	if (l.tb[IFLA_IFALIAS])
		e->alias = arena_strdup(a, text_of(l.tb[IFLA_IFALIAS], a));
	e->has_txqlen = l.tb[IFLA_TXQLEN] != NULL;
	e->txqlen = rtnl_u32(l.tb[IFLA_TXQLEN], 0);
	e->group = rtnl_u32(l.tb[IFLA_GROUP], 0);
	e->has_group = e->group;
	look_at_queues(&l, e);
	look_at_altnames(&l, e, a);
	look_at_inet6(&l, e, a);
	look_at_type(g, &l, e);
	look_at_master(g, &l, e);
	check_lost_state(g, &l);
	arena_push(a, &g->net->devs, &g->net->n_devs, e);
	return 0;
}

int link_look_message(struct dump *d, struct net *net, const struct nlmsghdr *h)
{
	struct looking g = { .d = d, .net = net };

	return look_at_link(h, &g);
}

int link_look_all(struct dump *d, struct net *net)
{
	_cleanup_rtnl_ struct rtnl r = { 0 }, again = { 0 };
	struct looking g = { .d = d, .net = net };
	_cleanup_close_ int sock = -1;
	int err = rtnl_open(&r) ?: rtnl_open(&again);

	err = err ?: look_at_nsids(d, net, &again);
	if (err)
		return err;
	err = rtnl_list(&r, RTM_GETLINK, AF_UNSPEC, look_at_link, &g);
	if (err)
		return log_errno(err, "rtnetlink: listing each device%s", r.said);
	sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (size_t i = 0; sock >= 0 && i < net->n_devs; i++)
		link_features_look(sock, net->devs[i], net->arena);
	for (size_t i = 0; !err && i < net->n_devs; i++)
		if (net->devs[i]->kind && !strcmp(net->devs[i]->kind, "wireguard"))
			err = wireguard_look(net, net->devs[i]);
	return err;
}
