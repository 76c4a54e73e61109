/* SPDX-License-Identifier: GPL-2.0-only */
/* The message that makes a device again. */
#include <string.h>

#include "netdev/link.h"

#define BYTES_MAX (RTNL_BUFFER / 4)

static void put_bytes(struct nlmsghdr *h, uint16_t type, const ProtobufCBinaryData *b)
{
	if (b->len && b->len < BYTES_MAX)
		mnl_attr_put(h, type, b->len, b->data);
}

/* Attributes as the kernel showed them; CRIU's images have those of macvlan by their names. */
static void put_kept(struct nlmsghdr *h, const NetDeviceEntry *e)
{
	if (e->has_info_data && e->info_data.len < BYTES_MAX) {
		memcpy(mnl_nlmsg_get_payload_tail(h), e->info_data.data, e->info_data.len);
		h->nlmsg_len += (uint32_t)MNL_ALIGN(e->info_data.len);
	} else if (e->macvlan) {
		mnl_attr_put_u32(h, IFLA_MACVLAN_MODE, e->macvlan->mode);
		if (e->macvlan->has_flags)
			mnl_attr_put_u16(h, IFLA_MACVLAN_FLAGS, (uint16_t)e->macvlan->flags);
	}
}

void link_message_begin(struct rtnl *r, const NetDeviceEntry *e, const struct link_place *at, struct link_message *m)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *h = m->h = rtnl_message(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*ifi), &ifi);

	ifi->ifi_index = (int)e->ifindex;
	mnl_attr_put_strz(h, IFLA_IFNAME, e->name);
	mnl_attr_put_u32(h, IFLA_MTU, e->mtu);
	if (at->address)
		put_bytes(h, IFLA_ADDRESS, &e->address);
	if (e->has_txqlen)
		mnl_attr_put_u32(h, IFLA_TXQLEN, e->txqlen);
	if (e->tx_queues)
		mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, e->tx_queues);
	if (e->rx_queues)
		mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, e->rx_queues);
	if (at->link)
		mnl_attr_put_u32(h, IFLA_LINK, at->link);
	if (at->netns_fd >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)at->netns_fd);
	m->info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, link_kind_of(e)->name);
	m->data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	put_kept(h, e);
}

void link_message_end(struct link_message *m)
{
	mnl_attr_nest_end(m->h, m->data);
	mnl_attr_nest_end(m->h, m->info);
}

uint32_t link_number(const NetDeviceEntry *e, uint16_t type)
{
	const struct nlattr *a = (const void *)e->info_data.data;
	int left = (int)e->info_data.len;

	if (!e->has_info_data)
		return 0;
	for (; mnl_attr_ok(a, left); left -= MNL_ALIGN(a->nla_len), a = mnl_attr_next(a))
		if (mnl_attr_get_type(a) == type)
			return rtnl_u32(a, 0);
	return 0;
}

uint32_t link_below(const NetDeviceEntry *e)
{
	const struct netdev_kind *k = link_kind_of(e);

	return k && k->link_attr ? link_number(e, k->link_attr) : 0;
}
