/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Types of network devices that few kernels have all of: what such a kernel answers to RTM_GETLINK (and wireguard to
 * WG_CMD_GET_DEVICE) is made by hand here, goes through an image, and the message that makes the device again has to
 * have just the attributes that a kernel takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/if.h>
#include <linux/if_tunnel.h>
#include <linux/if_vlan.h>
#include <linux/wireguard.h>
#include <netinet/in.h>
#include <string.h>

#include <cmocka.h>

#include "lib/log.h"
#include "netdev/link.h"

/* Room for what follows a structure that is all that the code looks at. */
struct fixture {
	struct dump d;
	struct options opts;
	struct net net;
	struct rtnl r;
	char answer[16384];
};

/* An attribute that the kernel shows; whether it is to be in the message that makes the device. */
struct shown {
	uint16_t type;
	const char *value;
	uint16_t len;
	bool taken;
	const char *as; /* or NULL: as it is shown */
};

#define V(type, bytes)                                                                                                 \
	{                                                                                                              \
		(type), (bytes), sizeof(bytes) - 1, true, NULL                                                         \
	}
#define LOST(type, bytes)                                                                                              \
	{                                                                                                              \
		(type), (bytes), sizeof(bytes) - 1, false, NULL                                                        \
	}
#define AS(type, bytes, x)                                                                                             \
	{                                                                                                              \
		(type), (bytes), sizeof(bytes) - 1, true, (x)                                                          \
	}

struct sample {
	const char *kind;
	struct shown data[40];
};

/* ---- the types: values in the order of bytes of this machine, where the kernel has them so ---- */

static const struct sample samples[] = {
	{ "dummy", { { 0 } } },
	{ "ifb", { { 0 } } },
	{ "nlmon", { { 0 } } },
	{ "vcan", { { 0 } } },
	{ "wireguard", { { 0 } } },
	{ "vlan",
	  { V(IFLA_VLAN_ID, "\x05\0"), AS(IFLA_VLAN_FLAGS, "\x05\0\0\0\xff\xff\xff\xff", "\x05\0\0\0\x1f\0\0\0"),
	    V(IFLA_VLAN_PROTOCOL, "\x88\xa8"), V(IFLA_VLAN_EGRESS_QOS, "\x0c\0\x01\0\x01\0\0\0\x02\0\0\0"),
	    V(IFLA_VLAN_INGRESS_QOS, "\x0c\0\x01\0\x03\0\0\0\x04\0\0\0") } },
	{ "ipvlan", { V(IFLA_IPVLAN_MODE, "\x01\0"), V(IFLA_IPVLAN_FLAGS, "\x02\0") } },
	{ "ipvtap", { V(IFLA_IPVLAN_MODE, "\0\0"), V(IFLA_IPVLAN_FLAGS, "\x01\0") } },
	{ "macvlan",
	  { V(IFLA_MACVLAN_MODE, "\x04\0\0\0"), V(IFLA_MACVLAN_FLAGS, "\x01\0"),
	    LOST(IFLA_MACVLAN_MACADDR_COUNT, "\0\0\0\0"), V(IFLA_MACVLAN_BC_QUEUE_LEN, "\xe8\x03\0\0"),
	    LOST(IFLA_MACVLAN_BC_QUEUE_LEN_USED, "\xe8\x03\0\0") } },
	{ "vrf", { V(IFLA_VRF_TABLE, "\x0a\0\0\0") } },
	{ "vxlan",
	  { V(IFLA_VXLAN_ID, "\x2a\0\0\0"), V(IFLA_VXLAN_GROUP, "\xef\x01\x01\x01"),
	    V(IFLA_VXLAN_LOCAL, "\x0a\0\0\x01"), V(IFLA_VXLAN_TTL, "\x05"), AS(IFLA_VXLAN_TTL_INHERIT, "\x01", ""),
	    V(IFLA_VXLAN_TOS, "\0"), V(IFLA_VXLAN_DF, "\x01"), V(IFLA_VXLAN_LEARNING, "\x01"),
	    V(IFLA_VXLAN_AGEING, "\x2c\x01\0\0"), V(IFLA_VXLAN_LIMIT, "\x07\0\0\0"), V(IFLA_VXLAN_PORT, "\x12\xb5"),
	    V(IFLA_VXLAN_PORT_RANGE, "\0\x01\0\x02"), V(IFLA_VXLAN_GBP, "") } },
	{ "geneve",
	  { V(IFLA_GENEVE_ID, "\x04\0\0\0"), V(IFLA_GENEVE_REMOTE, "\x0a\0\0\x02"), V(IFLA_GENEVE_TTL, "\x40"),
	    V(IFLA_GENEVE_TOS, "\x01"), V(IFLA_GENEVE_DF, "\x02"), V(IFLA_GENEVE_LABEL, "\0\0\0\x07"),
	    V(IFLA_GENEVE_PORT, "\x17\xc1"), V(IFLA_GENEVE_UDP_CSUM, "\x01"), V(IFLA_GENEVE_UDP_ZERO_CSUM6_RX, "\0"),
	    LOST(IFLA_GENEVE_TTL_INHERIT, "\0"), V(IFLA_GENEVE_INNER_PROTO_INHERIT, "") } },
	{ "ipip",
	  { V(IFLA_IPTUN_LINK, "\0\0\0\0"), V(IFLA_IPTUN_LOCAL, "\x0a\0\0\x01"), V(IFLA_IPTUN_REMOTE, "\x0a\0\0\x02"),
	    V(IFLA_IPTUN_TTL, "\x40"), V(IFLA_IPTUN_TOS, "\0"), V(IFLA_IPTUN_PROTO, "\x04"),
	    V(IFLA_IPTUN_PMTUDISC, "\x01"), V(IFLA_IPTUN_FWMARK, "\x07\0\0\0"), V(IFLA_IPTUN_ENCAP_TYPE, "\0\0"),
	    V(IFLA_IPTUN_ENCAP_SPORT, "\0\0"), V(IFLA_IPTUN_ENCAP_DPORT, "\0\0"), V(IFLA_IPTUN_ENCAP_FLAGS, "\0\0") } },
	{ "sit",
	  { V(IFLA_IPTUN_LOCAL, "\x0a\0\0\x01"), V(IFLA_IPTUN_REMOTE, "\x0a\0\0\x02"), V(IFLA_IPTUN_TTL, "\x40"),
	    V(IFLA_IPTUN_FLAGS, "\x01\0"), V(IFLA_IPTUN_PROTO, "\x29"),
	    V(IFLA_IPTUN_6RD_PREFIX, "\x20\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), V(IFLA_IPTUN_6RD_PREFIXLEN, "\x10\0") } },
	{ "ip6tnl",
	  { V(IFLA_IPTUN_LOCAL, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"),
	    V(IFLA_IPTUN_REMOTE, "\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"), V(IFLA_IPTUN_TTL, "\x40"),
	    V(IFLA_IPTUN_ENCAP_LIMIT, "\x04"), V(IFLA_IPTUN_FLOWINFO, "\0\0\0\0"), V(IFLA_IPTUN_FLAGS, "\0\0\0\0"),
	    V(IFLA_IPTUN_PROTO, "\x29"), V(IFLA_IPTUN_COLLECT_METADATA, "") } },
	{ "gre",
	  { V(IFLA_GRE_IFLAGS, "\x20\0"), V(IFLA_GRE_OFLAGS, "\x20\0"), V(IFLA_GRE_IKEY, "\0\0\0\x07"),
	    V(IFLA_GRE_OKEY, "\0\0\0\x08"), V(IFLA_GRE_LOCAL, "\x0a\0\0\x01"), V(IFLA_GRE_REMOTE, "\x0a\0\0\x02"),
	    V(IFLA_GRE_TTL, "\x40"), V(IFLA_GRE_TOS, "\0"), V(IFLA_GRE_PMTUDISC, "\x01"),
	    V(IFLA_GRE_FWMARK, "\0\0\0\0") } },
	{ "gretap", { V(IFLA_GRE_REMOTE, "\x0a\0\0\x02"), V(IFLA_GRE_IGNORE_DF, "\x01") } },
	{ "ip6gre", { V(IFLA_GRE_FLAGS, "\x01\0\0\0"), V(IFLA_GRE_ENCAP_LIMIT, "\x04") } },
	{ "ip6gretap", { V(IFLA_GRE_FLOWINFO, "\0\0\0\x09"), V(IFLA_GRE_COLLECT_METADATA, "") } },
	/* Active-backup, watched by MII: what only other modes have is shown, and would be refused. */
	{ "bond",
	  { V(IFLA_BOND_MODE, "\x01"),
	    LOST(IFLA_BOND_ACTIVE_SLAVE, "\x08\0\0\0"),
	    V(IFLA_BOND_MIIMON, "\x64\0\0\0"),
	    V(IFLA_BOND_UPDELAY, "\xc8\0\0\0"),
	    LOST(IFLA_BOND_DOWNDELAY, "\0\0\0\0"),
	    LOST(IFLA_BOND_PEER_NOTIF_DELAY, "\0\0\0\0"),
	    V(IFLA_BOND_USE_CARRIER, "\x01"),
	    LOST(IFLA_BOND_ARP_INTERVAL, "\0\0\0\0"),
	    V(IFLA_BOND_ARP_VALIDATE, "\0\0\0\0"),
	    V(IFLA_BOND_PRIMARY, "\x09\0\0\0"),
	    V(IFLA_BOND_PRIMARY_RESELECT, "\x02"),
	    V(IFLA_BOND_FAIL_OVER_MAC, "\x01"),
	    V(IFLA_BOND_XMIT_HASH_POLICY, "\0"),
	    V(IFLA_BOND_RESEND_IGMP, "\x01\0\0\0"),
	    V(IFLA_BOND_NUM_PEER_NOTIF, "\x02"),
	    V(IFLA_BOND_MIN_LINKS, "\0\0\0\0"),
	    LOST(IFLA_BOND_PACKETS_PER_SLAVE, "\x01\0\0\0"),
	    LOST(IFLA_BOND_AD_LACP_RATE, "\0"),
	    LOST(IFLA_BOND_AD_LACP_ACTIVE, "\x01"),
	    V(IFLA_BOND_AD_SELECT, "\0"),
	    LOST(IFLA_BOND_TLB_DYNAMIC_LB, "\x01"),
	    V(IFLA_BOND_MISSED_MAX, "\x02") } },
	/* 802.3ad. */
	{ "bond",
	  { V(IFLA_BOND_MODE, "\x04"), V(IFLA_BOND_MIIMON, "\0\0\0\0"), LOST(IFLA_BOND_ARP_VALIDATE, "\0\0\0\0"),
	    LOST(IFLA_BOND_ARP_INTERVAL, "\0\0\0\0"), LOST(IFLA_BOND_MISSED_MAX, "\x02"),
	    V(IFLA_BOND_AD_LACP_RATE, "\x01"), V(IFLA_BOND_AD_LACP_ACTIVE, "\x01"),
	    LOST(IFLA_BOND_AD_INFO, "\x08\0\x01\0\x01\0\0\0"), V(IFLA_BOND_AD_ACTOR_SYS_PRIO, "\xff\xff"),
	    V(IFLA_BOND_AD_USER_PORT_KEY, "\x05\0"), LOST(IFLA_BOND_AD_ACTOR_SYSTEM, "\0\0\0\0\0\0"),
	    LOST(IFLA_BOND_PACKETS_PER_SLAVE, "\x01\0\0\0"), LOST(IFLA_BOND_TLB_DYNAMIC_LB, "\x01") } },
	{ "bond", { V(IFLA_BOND_MODE, "\x04"), V(IFLA_BOND_AD_ACTOR_SYSTEM, "\0\0\0\0\0\x01") } },
	/* Round robin, watched by ARP. */
	{ "bond",
	  { V(IFLA_BOND_MODE, "\0"), V(IFLA_BOND_MIIMON, "\0\0\0\0"), V(IFLA_BOND_ARP_INTERVAL, "\x64\0\0\0"),
	    V(IFLA_BOND_ARP_IP_TARGET, "\x08\0\0\0\x0a\0\0\x01"), V(IFLA_BOND_ARP_VALIDATE, "\0\0\0\0"),
	    V(IFLA_BOND_MISSED_MAX, "\x03"), V(IFLA_BOND_PACKETS_PER_SLAVE, "\x02\0\0\0"),
	    LOST(IFLA_BOND_PRIMARY, "\x09\0\0\0") } },
	{ "bond",
	  { V(IFLA_BOND_MODE, "\x05"), V(IFLA_BOND_TLB_DYNAMIC_LB, "\0"), V(IFLA_BOND_PRIMARY, "\x09\0\0\0") } },
};

/* ---- messages ---- */

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->d.arena = f->net.arena = arena_new();
	f->d.opts = &f->opts;
	f->net.m = arena_msg(f->net.arena, NetnsEntry, netns_entry);
	f->net.id = 9;
	f->d.inventory = arena_alloc(f->d.arena, 4096);
	state_make_all_dump(&f->d);
	f->r.buf = malloc(RTNL_BUFFER);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	arena_free(f->d.arena);
	free(f->r.buf);
	free(f);
	return 0;
}

static struct nlmsghdr *begin_answer(struct fixture *f, unsigned index, const char *name)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(f->answer);
	struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));

	h->nlmsg_type = RTM_NEWLINK;
	ifi->ifi_index = (int)index;
	ifi->ifi_flags = IFF_BROADCAST | IFF_UP;
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put_u32(h, IFLA_MTU, 1450);
	mnl_attr_put_u32(h, IFLA_TXQLEN, 500);
	mnl_attr_put(h, IFLA_ADDRESS, 6, "\x02\0\0\0\0\x05");
	return h;
}

static void put_kind(struct nlmsghdr *h, const struct sample *s)
{
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO), *data;

	mnl_attr_put_strz(h, IFLA_INFO_KIND, s->kind);
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	for (size_t i = 0; s->data[i].value; i++)
		mnl_attr_put(h, s->data[i].type, s->data[i].len, s->data[i].value);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
}

/* Through the bytes of an image. */
static NetDeviceEntry *through_image(struct fixture *f)
{
	NetDeviceEntry *e = f->net.devs[f->net.n_devs - 1], *again;
	size_t len = net_device_entry__get_packed_size(e);
	uint8_t *bytes = malloc(len);

	net_device_entry__pack(e, bytes);
	again = net_device_entry__unpack(NULL, len, bytes);
	free(bytes);
	assert_non_null(again);
	return again;
}

static void compare_data(const struct sample *s, const struct nlattr *data)
{
	const struct nlattr *tb[LINK_DATA_MAX + 1];
	size_t n = 0, wanted = 0;
	const struct nlattr *a;

	assert_int_equal(rtnl_nested(data, tb, LINK_DATA_MAX), 0);
	mnl_attr_for_each_nested(a, data) n++;
	for (size_t i = 0; s->data[i].value; i++) {
		const struct shown *v = &s->data[i];

		wanted += v->taken;
		if (!v->taken && tb[v->type])
			fail_msg("%s: attribute %u is there, and the kernel would refuse it", s->kind, v->type);
		if (!v->taken)
			continue;
		if (!tb[v->type])
			fail_msg("%s: attribute %u is missing", s->kind, v->type);
		if (v->as && !*v->as) {
			assert_int_equal(mnl_attr_get_payload_len(tb[v->type]), 0);
			continue;
		}
		assert_int_equal(mnl_attr_get_payload_len(tb[v->type]), v->len);
		assert_memory_equal(mnl_attr_get_payload(tb[v->type]), v->as ?: v->value, v->len);
	}
	assert_int_equal(n, wanted);
}

static void check_request(const struct sample *s, const struct nlmsghdr *h, unsigned index)
{
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);

	assert_int_equal(h->nlmsg_type, RTM_NEWLINK);
	assert_true((h->nlmsg_flags & NLM_F_CREATE) && (h->nlmsg_flags & NLM_F_EXCL));
	assert_int_equal(ifi->ifi_index, index);
	assert_int_equal(rtnl_attrs(h, sizeof(*ifi), tb, IFLA_MAX), 0);
	assert_string_equal(mnl_attr_get_str(tb[IFLA_IFNAME]), "dev0");
	assert_int_equal(rtnl_u32(tb[IFLA_MTU], 0), 1450);
	assert_int_equal(rtnl_u32(tb[IFLA_TXQLEN], 0), 500);
	assert_memory_equal(mnl_attr_get_payload(tb[IFLA_ADDRESS]), "\x02\0\0\0\0\x05", 6);
	assert_int_equal(rtnl_u32(tb[IFLA_LINK], 0), link_kind(s->kind)->has_link ? 3 : 0);
	assert_int_equal(rtnl_nested(tb[IFLA_LINKINFO], info, IFLA_INFO_MAX), 0);
	assert_string_equal(mnl_attr_get_str(info[IFLA_INFO_KIND]), s->kind);
	compare_data(s, info[IFLA_INFO_DATA]);
}

static void each_type(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const struct sample *s = &samples[i];
		unsigned index = 7 + (unsigned)i;
		struct nlmsghdr *h = begin_answer(f, index, "dev0");
		struct link_place at = { .netns_fd = -1, .address = true };
		struct link_message m;
		NetDeviceEntry *e;

		if (link_kind(s->kind)->has_link)
			mnl_attr_put_u32(h, IFLA_LINK, 3);
		put_kind(h, s);
		assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
		assert_int_equal(log_refusals(), 0);
		e = through_image(f);
		assert_string_equal(e->kind ?: s->kind, s->kind);
		at.link = link_kind_of(e)->has_link ? e->peer_ifindex : 0;
		link_message_begin(&f->r, e, &at, &m);
		link_message_end(&m);
		check_request(s, m.h, index);
		if (!strcmp(s->kind, "bond"))
			assert_int_equal(e->active_port, i == ARRAY_SIZE(samples) - 5 ? 8 : 0);
		net_device_entry__free_unpacked(e, NULL);
	}
}

/* A port of a bond has got the bond's address; it is made with its own. */
static void port_of_a_bond(void **state)
{
	struct fixture *f = *state;
	struct nlmsghdr *h = begin_answer(f, 40, "port0");
	struct nlattr *info, *data;
	NetDeviceEntry *e;

	mnl_attr_put_u32(h, IFLA_MASTER, 30);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "dummy");
	mnl_attr_put_strz(h, IFLA_INFO_SLAVE_KIND, "bond");
	data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(h, IFLA_BOND_SLAVE_STATE, 1);
	mnl_attr_put(h, IFLA_BOND_SLAVE_PERM_HWADDR, 6, "\x02\0\0\0\0\x77");
	mnl_attr_put_u16(h, IFLA_BOND_SLAVE_QUEUE_ID, 3);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
	assert_int_equal(log_refusals(), 0);
	e = through_image(f);
	assert_true(e->has_master && e->master == 30);
	assert_memory_equal(e->address.data, "\x02\0\0\0\0\x77", 6);
	assert_int_equal(e->slave_data.len, 8);
	assert_memory_equal(e->slave_data.data, "\x06\0\x05\0\x03\0\0\0", 6);
	net_device_entry__free_unpacked(e, NULL);
}

/* Another namespace than the tree's, by which a tunnel goes; types without a row; a port of what has no ports here. */
static void refused(void **state)
{
	struct fixture *f = *state;
	static const char *const kinds[] = { "team", "netkit", "macsec", "hsr", "ovpn", "xfrm", "erspan" };
	static const struct sample geneve = { "geneve", { V(IFLA_GENEVE_ID, "\x04\0\0\0") } };
	static const struct sample vnis = { "vxlan", { V(IFLA_VXLAN_VNIFILTER, "\x01") } };
	static const struct sample sources = { "macvlan", { V(IFLA_MACVLAN_MACADDR_COUNT, "\x01\0\0\0") } };
	size_t before = log_refusals();
	struct nlmsghdr *h;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const struct sample s = { kinds[i], { { 0 } } };

		h = begin_answer(f, 50, "dev0");
		put_kind(h, &s);
		assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
		assert_int_equal(log_refusals(), before + 1 + i);
	}
	before = log_refusals();
	h = begin_answer(f, 51, "dev0");
	mnl_attr_put_u32(h, IFLA_LINK_NETNSID, 4);
	put_kind(h, &geneve);
	assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
	h = begin_answer(f, 52, "dev0");
	put_kind(h, &vnis);
	assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
	h = begin_answer(f, 53, "dev0");
	put_kind(h, &sources);
	assert_int_equal(link_look_message(&f->d, &f->net, h), 0);
	assert_int_equal(log_refusals(), before + 3);
}

/* ---- wireguard ---- */

static void put_peer(struct nlmsghdr *h, char key, bool whole)
{
	struct nlattr *peer = mnl_attr_nest_start(h, 0), *ips, *ip;
	char bytes[32];

	memset(bytes, key, sizeof(bytes));
	mnl_attr_put(h, WGPEER_A_PUBLIC_KEY, sizeof(bytes), bytes);
	if (whole) {
		struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(51820) };
		const char handshake[16] = { 1 };

		mnl_attr_put(h, WGPEER_A_PRESHARED_KEY, sizeof(bytes), bytes);
		mnl_attr_put(h, WGPEER_A_LAST_HANDSHAKE_TIME, sizeof(handshake), handshake);
		mnl_attr_put_u16(h, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, 25);
		mnl_attr_put_u64(h, WGPEER_A_TX_BYTES, 1000);
		mnl_attr_put_u64(h, WGPEER_A_RX_BYTES, 1000);
		mnl_attr_put_u32(h, WGPEER_A_PROTOCOL_VERSION, 1);
		mnl_attr_put(h, WGPEER_A_ENDPOINT, sizeof(to), &to);
	}
	ips = mnl_attr_nest_start(h, WGPEER_A_ALLOWEDIPS);
	ip = mnl_attr_nest_start(h, 0);
	mnl_attr_put_u8(h, WGALLOWEDIP_A_CIDR_MASK, whole ? 24 : 32);
	mnl_attr_put_u16(h, WGALLOWEDIP_A_FAMILY, AF_INET);
	mnl_attr_put(h, WGALLOWEDIP_A_IPADDR, 4, "\x0a\0\0\0");
	mnl_attr_nest_end(h, ip);
	mnl_attr_nest_end(h, ips);
	mnl_attr_nest_end(h, peer);
}

/* The second message goes on with the peer that the first has ended with, as the kernel's do. */
static struct nlmsghdr *wireguard_answer(struct fixture *f, bool first)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(f->answer);
	struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	struct nlattr *peers;
	char key[32] = "a private key";

	g->cmd = WG_CMD_GET_DEVICE;
	if (first) {
		mnl_attr_put_u16(h, WGDEVICE_A_LISTEN_PORT, 51820);
		mnl_attr_put_u32(h, WGDEVICE_A_FWMARK, 9);
		mnl_attr_put_u32(h, WGDEVICE_A_IFINDEX, 77);
		mnl_attr_put_strz(h, WGDEVICE_A_IFNAME, "wg0");
		mnl_attr_put(h, WGDEVICE_A_PRIVATE_KEY, sizeof(key), key);
		mnl_attr_put(h, WGDEVICE_A_PUBLIC_KEY, sizeof(key), key);
	}
	peers = mnl_attr_nest_start(h, WGDEVICE_A_PEERS);
	if (first)
		put_peer(h, 'a', true);
	put_peer(h, 'b', first);
	mnl_attr_nest_end(h, peers);
	return h;
}

static void check_peer(const struct nlattr *peer, char key, bool whole)
{
	const struct nlattr *tb[WGPEER_A_MAX + 1], *ips, *ip[WGALLOWEDIP_A_MAX + 1];
	char bytes[32];

	memset(bytes, key, sizeof(bytes));
	assert_true(peer->nla_type & NLA_F_NESTED);
	assert_int_equal(rtnl_nested(peer, tb, WGPEER_A_MAX), 0);
	assert_memory_equal(mnl_attr_get_payload(tb[WGPEER_A_PUBLIC_KEY]), bytes, sizeof(bytes));
	assert_true(!tb[WGPEER_A_PRESHARED_KEY] == !whole && !tb[WGPEER_A_ENDPOINT] == !whole);
	assert_true(!tb[WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL] == !whole);
	assert_true(!tb[WGPEER_A_TX_BYTES] && !tb[WGPEER_A_RX_BYTES] && !tb[WGPEER_A_LAST_HANDSHAKE_TIME]);
	assert_true(!tb[WGPEER_A_FLAGS]); /* to replace what the message before has said */
	mnl_attr_for_each_nested(ips, tb[WGPEER_A_ALLOWEDIPS])
	{
		assert_int_equal(rtnl_nested(ips, ip, WGALLOWEDIP_A_MAX), 0);
		assert_int_equal(mnl_attr_get_u8(ip[WGALLOWEDIP_A_CIDR_MASK]), whole ? 24 : 32);
	}
}

static void wireguard(void **state)
{
	struct fixture *f = *state;
	NetDeviceEntry *e = arena_msg(f->net.arena, NetDeviceEntry, net_device_entry), *again;
	const struct nlattr *tb[WGDEVICE_A_MAX + 1], *peer;

	e->name = arena_strdup(f->net.arena, "wg0");
	e->ifindex = 77;
	assert_int_equal(wireguard_keep(f->net.arena, e, wireguard_answer(f, true)), 0);
	assert_int_equal(wireguard_keep(f->net.arena, e, wireguard_answer(f, false)), 0);
	arena_push(f->net.arena, &f->net.devs, &f->net.n_devs, e);
	again = through_image(f);
	assert_int_equal(again->n_wireguard, 2);
	for (size_t i = 0; i < 2; i++) {
		struct nlmsghdr *h = wireguard_request(&f->r, 31, again, i);
		char key = i ? 'b' : 'a';

		assert_int_equal(h->nlmsg_type, 31);
		assert_int_equal(((struct genlmsghdr *)mnl_nlmsg_get_payload(h))->cmd, WG_CMD_SET_DEVICE);
		assert_int_equal(rtnl_attrs(h, GENL_HDRLEN, tb, WGDEVICE_A_MAX), 0);
		assert_int_equal(rtnl_u32(tb[WGDEVICE_A_IFINDEX], 0), 77);
		assert_true(!tb[WGDEVICE_A_IFNAME] && !tb[WGDEVICE_A_PUBLIC_KEY]);
		assert_true(!tb[WGDEVICE_A_PRIVATE_KEY] == (i > 0) && !tb[WGDEVICE_A_LISTEN_PORT] == (i > 0));
		assert_int_equal(rtnl_u32(tb[WGDEVICE_A_FWMARK], 0), i ? 0 : 9);
		mnl_attr_for_each_nested(peer, tb[WGDEVICE_A_PEERS]) check_peer(peer, key++, !i);
		assert_int_equal(key, 'c');
	}
	net_device_entry__free_unpacked(again, NULL);
}

/* Answers that are cut, or whose attributes lie: an error, and nothing is read beyond. */
static void damaged(void **state)
{
	struct fixture *f = *state;
	struct nlmsghdr *h = begin_answer(f, 60, "dev0");
	uint32_t whole;

	put_kind(h, &samples[5]);
	whole = h->nlmsg_len;
	for (uint32_t len = NLMSG_HDRLEN; len < whole; len += 4) {
		char *copy = malloc(len);
		int err;

		memcpy(copy, f->answer, len);
		((struct nlmsghdr *)(void *)copy)->nlmsg_len = len;
		err = link_look_message(&f->d, &f->net, (void *)copy);
		assert_true(!err || err == -EBADMSG);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_type, set_up, tear_down),
		cmocka_unit_test_setup_teardown(port_of_a_bond, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wireguard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damaged, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
