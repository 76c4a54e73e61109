/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices of wireguard: keys, port, mark and peers are not rtnetlink's but a family of generic netlink's
 * (linux/wireguard.h). What WG_CMD_GET_DEVICE shows is what WG_CMD_SET_DEVICE takes, but for what the kernel counts.
 * Many peers come in several messages, each of which is kept and sent by itself.
 */
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>

#include "lib/log.h"
#include "netdev/link.h"

static const uint16_t device_attrs[] = { WGDEVICE_A_PRIVATE_KEY, WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_FWMARK, 0 };
static const uint16_t peer_attrs[] = { WGPEER_A_PUBLIC_KEY, WGPEER_A_PRESHARED_KEY,
	                               WGPEER_A_ENDPOINT,   WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
	                               WGPEER_A_ALLOWEDIPS, 0 };

/* ---- dump ---- */

int wireguard_keep(struct arena *a, NetDeviceEntry *e, const struct nlmsghdr *h)
{
	size_t len = mnl_nlmsg_get_payload_len(h);
	ProtobufCBinaryData kept;

	if (len < GENL_HDRLEN)
		return log_errno(-EBADMSG, "device %s: an answer of wireguard is cut", e->name);
	kept.len = len - GENL_HDRLEN;
	kept.data = arena_memdup(a, (const char *)mnl_nlmsg_get_payload(h) + GENL_HDRLEN, kept.len);
	arena_push(a, &e->wireguard, &e->n_wireguard, kept);
	return 0;
}

struct wireguard_reading {
	struct arena *arena;
	NetDeviceEntry *e;
};

static int take_message(const struct nlmsghdr *h, void *arg)
{
	const struct wireguard_reading *g = arg;

	return wireguard_keep(g->arena, g->e, h);
}

int wireguard_look(const struct net *net, NetDeviceEntry *e)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct wireguard_reading g = { .arena = net->arena, .e = e };
	int err = rtnl_open_family(&r, NETLINK_GENERIC);
	uint16_t family = err ? 0 : rtnl_genl_family(&r, WG_GENL_NAME);
	struct rtnl_genl ask = { .family = family, .cmd = WG_CMD_GET_DEVICE, .version = WG_GENL_VERSION };

	if (err)
		return err;
	ask.attr = WGDEVICE_A_IFINDEX;
	ask.value = e->ifindex;
	err = family ? rtnl_list_genl(&r, &ask, take_message, &g) : -ENOENT;
	return err ? log_errno(err, "network namespace %u: device %s: WG_CMD_GET_DEVICE%s", net->id, e->name, r.said)
	           : 0;
}

/* ---- restore ---- */

static void copy_listed(struct nlmsghdr *h, const struct nlattr *const *tb, const uint16_t *list)
{
	for (; *list; list++)
		if (tb[*list])
			mnl_attr_put(h, tb[*list]->nla_type, mnl_attr_get_payload_len(tb[*list]),
			             mnl_attr_get_payload(tb[*list]));
}

static void copy_peers(struct nlmsghdr *h, const struct nlattr *peers)
{
	struct nlattr *all = mnl_attr_nest_start(h, WGDEVICE_A_PEERS);
	const struct nlattr *peer;

	mnl_attr_for_each_nested(peer, peers)
	{
		const struct nlattr *tb[WGPEER_A_MAX + 1];
		struct nlattr *nest;

		if (rtnl_nested(peer, tb, WGPEER_A_MAX) || !tb[WGPEER_A_PUBLIC_KEY])
			continue;
		nest = mnl_attr_nest_start(h, 0);
		copy_listed(h, tb, peer_attrs);
		mnl_attr_nest_end(h, nest);
	}
	mnl_attr_nest_end(h, all);
}

static void index_attrs(const ProtobufCBinaryData *b, const struct nlattr **tb)
{
	const struct nlattr *a = (const void *)b->data;
	int left = (int)b->len;

	memset(tb, 0, (WGDEVICE_A_MAX + 1UL) * sizeof(*tb));
	for (; mnl_attr_ok(a, left); left -= MNL_ALIGN(a->nla_len), a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) <= WGDEVICE_A_MAX)
			tb[mnl_attr_get_type(a)] = a;
}

struct nlmsghdr *wireguard_request(struct rtnl *r, uint16_t family, const NetDeviceEntry *e, size_t which)
{
	const struct nlattr *tb[WGDEVICE_A_MAX + 1];
	struct genlmsghdr *g;
	struct nlmsghdr *h;

	if (e->wireguard[which].len > RTNL_BUFFER / 2)
		return NULL;
	index_attrs(&e->wireguard[which], tb);
	h = rtnl_message(r, family, 0, sizeof(*g), &g);
	g->cmd = WG_CMD_SET_DEVICE;
	g->version = WG_GENL_VERSION;
	mnl_attr_put_u32(h, WGDEVICE_A_IFINDEX, e->ifindex);
	if (!which)
		copy_listed(h, tb, device_attrs);
	if (tb[WGDEVICE_A_PEERS])
		copy_peers(h, tb[WGDEVICE_A_PEERS]);
	return h;
}

int wireguard_apply(const struct net *net, const NetDeviceEntry *e)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	int err = e->n_wireguard ? rtnl_open_family(&r, NETLINK_GENERIC) : 0;
	uint16_t family = err || !e->n_wireguard ? 0 : rtnl_genl_family(&r, WG_GENL_NAME);

	for (size_t i = 0; !err && i < e->n_wireguard; i++) {
		struct nlmsghdr *h = family ? wireguard_request(&r, family, e, i) : NULL;

		err = h ? rtnl_do(&r, h) : family ? -EBADMSG : -ENOENT;
		if (err)
			log_errno(err, "network namespace %u: device %s: WG_CMD_SET_DEVICE%s", net->id, e->name,
			          r.said);
	}
	return err;
}
