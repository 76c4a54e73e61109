/* SPDX-License-Identifier: GPL-2.0-only */
/* The types of network devices (ip-link(8)), and which of their attributes are kept. */
#include <linux/if_bridge.h>
#include <linux/if_tunnel.h>
#include <linux/if_vlan.h>
#include <string.h>

#include "netdev/link.h"
#include "uapi/link_bits.h"

#define ATTRS(...) ((const uint16_t[]) { __VA_ARGS__, 0 })

/* All attributes but those that the kernel counts and times. */
static const uint16_t bridge_attrs[] = { IFLA_BR_FORWARD_DELAY,
	                                 IFLA_BR_HELLO_TIME,
	                                 IFLA_BR_MAX_AGE,
	                                 IFLA_BR_AGEING_TIME,
	                                 IFLA_BR_STP_STATE,
	                                 IFLA_BR_PRIORITY,
	                                 IFLA_BR_VLAN_FILTERING,
	                                 IFLA_BR_VLAN_PROTOCOL,
	                                 IFLA_BR_GROUP_FWD_MASK,
	                                 IFLA_BR_GROUP_ADDR,
	                                 IFLA_BR_MCAST_ROUTER,
	                                 IFLA_BR_MCAST_SNOOPING,
	                                 IFLA_BR_MCAST_QUERY_USE_IFADDR,
	                                 IFLA_BR_MCAST_QUERIER,
	                                 IFLA_BR_MCAST_HASH_MAX,
	                                 IFLA_BR_MCAST_LAST_MEMBER_CNT,
	                                 IFLA_BR_MCAST_STARTUP_QUERY_CNT,
	                                 IFLA_BR_MCAST_LAST_MEMBER_INTVL,
	                                 IFLA_BR_MCAST_MEMBERSHIP_INTVL,
	                                 IFLA_BR_MCAST_QUERIER_INTVL,
	                                 IFLA_BR_MCAST_QUERY_INTVL,
	                                 IFLA_BR_MCAST_QUERY_RESPONSE_INTVL,
	                                 IFLA_BR_MCAST_STARTUP_QUERY_INTVL,
	                                 IFLA_BR_NF_CALL_IPTABLES,
	                                 IFLA_BR_NF_CALL_IP6TABLES,
	                                 IFLA_BR_NF_CALL_ARPTABLES,
	                                 IFLA_BR_VLAN_DEFAULT_PVID,
	                                 IFLA_BR_VLAN_STATS_ENABLED,
	                                 IFLA_BR_MCAST_STATS_ENABLED,
	                                 IFLA_BR_MCAST_IGMP_VERSION,
	                                 IFLA_BR_MCAST_MLD_VERSION,
	                                 IFLA_BR_VLAN_STATS_PER_PORT,
	                                 IFLA_BR_MULTI_BOOLOPT,
	                                 0 };

static const uint16_t bridge_zero[] = { IFLA_BR_VLAN_FILTERING,
	                                IFLA_BR_MCAST_QUERIER,
	                                IFLA_BR_NF_CALL_IPTABLES,
	                                IFLA_BR_NF_CALL_IP6TABLES,
	                                IFLA_BR_NF_CALL_ARPTABLES,
	                                IFLA_BR_VLAN_STATS_ENABLED,
	                                IFLA_BR_MCAST_STATS_ENABLED,
	                                IFLA_BR_VLAN_STATS_PER_PORT,
	                                IFLA_BR_MULTI_BOOLOPT, /* of a mask behind it no account is taken */
	                                0 };

static const uint16_t vxlan_attrs[] = { IFLA_VXLAN_ID,
	                                IFLA_VXLAN_GROUP,
	                                IFLA_VXLAN_LINK,
	                                IFLA_VXLAN_LOCAL,
	                                IFLA_VXLAN_TTL,
	                                IFLA_VXLAN_TOS,
	                                IFLA_VXLAN_LEARNING,
	                                IFLA_VXLAN_AGEING,
	                                IFLA_VXLAN_LIMIT,
	                                IFLA_VXLAN_PORT_RANGE,
	                                IFLA_VXLAN_PROXY,
	                                IFLA_VXLAN_RSC,
	                                IFLA_VXLAN_L2MISS,
	                                IFLA_VXLAN_L3MISS,
	                                IFLA_VXLAN_PORT,
	                                IFLA_VXLAN_GROUP6,
	                                IFLA_VXLAN_LOCAL6,
	                                IFLA_VXLAN_UDP_CSUM,
	                                IFLA_VXLAN_UDP_ZERO_CSUM6_TX,
	                                IFLA_VXLAN_UDP_ZERO_CSUM6_RX,
	                                IFLA_VXLAN_REMCSUM_TX,
	                                IFLA_VXLAN_REMCSUM_RX,
	                                IFLA_VXLAN_GBP,
	                                IFLA_VXLAN_REMCSUM_NOPARTIAL,
	                                IFLA_VXLAN_COLLECT_METADATA,
	                                IFLA_VXLAN_LABEL,
	                                IFLA_VXLAN_GPE,
	                                IFLA_VXLAN_DF,
	                                LINK_VXLAN_LOCALBYPASS,
	                                LINK_VXLAN_LABEL_POLICY,
	                                0 };

static const uint16_t ip_tunnel_attrs[] = { IFLA_IPTUN_LINK,
	                                    IFLA_IPTUN_LOCAL,
	                                    IFLA_IPTUN_REMOTE,
	                                    IFLA_IPTUN_TTL,
	                                    IFLA_IPTUN_TOS,
	                                    IFLA_IPTUN_ENCAP_LIMIT,
	                                    IFLA_IPTUN_FLOWINFO,
	                                    IFLA_IPTUN_FLAGS,
	                                    IFLA_IPTUN_PROTO,
	                                    IFLA_IPTUN_PMTUDISC,
	                                    IFLA_IPTUN_6RD_PREFIX,
	                                    IFLA_IPTUN_6RD_RELAY_PREFIX,
	                                    IFLA_IPTUN_6RD_PREFIXLEN,
	                                    IFLA_IPTUN_6RD_RELAY_PREFIXLEN,
	                                    IFLA_IPTUN_ENCAP_TYPE,
	                                    IFLA_IPTUN_ENCAP_FLAGS,
	                                    IFLA_IPTUN_ENCAP_SPORT,
	                                    IFLA_IPTUN_ENCAP_DPORT,
	                                    IFLA_IPTUN_COLLECT_METADATA,
	                                    IFLA_IPTUN_FWMARK,
	                                    0 };

static const uint16_t gre_attrs[] = { IFLA_GRE_LINK,        IFLA_GRE_IFLAGS,      IFLA_GRE_OFLAGS,
	                              IFLA_GRE_IKEY,        IFLA_GRE_OKEY,        IFLA_GRE_LOCAL,
	                              IFLA_GRE_REMOTE,      IFLA_GRE_TTL,         IFLA_GRE_TOS,
	                              IFLA_GRE_PMTUDISC,    IFLA_GRE_ENCAP_LIMIT, IFLA_GRE_FLOWINFO,
	                              IFLA_GRE_FLAGS,       IFLA_GRE_ENCAP_TYPE,  IFLA_GRE_ENCAP_FLAGS,
	                              IFLA_GRE_ENCAP_SPORT, IFLA_GRE_ENCAP_DPORT, IFLA_GRE_COLLECT_METADATA,
	                              IFLA_GRE_IGNORE_DF,   IFLA_GRE_FWMARK,      0 };

static const uint16_t geneve_attrs[] = { IFLA_GENEVE_ID,
	                                 IFLA_GENEVE_REMOTE,
	                                 IFLA_GENEVE_TTL,
	                                 IFLA_GENEVE_TOS,
	                                 IFLA_GENEVE_PORT,
	                                 IFLA_GENEVE_COLLECT_METADATA,
	                                 IFLA_GENEVE_REMOTE6,
	                                 IFLA_GENEVE_UDP_CSUM,
	                                 IFLA_GENEVE_UDP_ZERO_CSUM6_TX,
	                                 IFLA_GENEVE_UDP_ZERO_CSUM6_RX,
	                                 IFLA_GENEVE_LABEL,
	                                 IFLA_GENEVE_TTL_INHERIT,
	                                 IFLA_GENEVE_DF,
	                                 IFLA_GENEVE_INNER_PROTO_INHERIT,
	                                 0 };

/* But for what the kernel finds by itself (AD_INFO), and the port that is in use, which is set when there are ports. */
static const uint16_t bond_attrs[] = { IFLA_BOND_MODE,
	                               IFLA_BOND_MIIMON,
	                               IFLA_BOND_UPDELAY,
	                               IFLA_BOND_DOWNDELAY,
	                               IFLA_BOND_USE_CARRIER,
	                               IFLA_BOND_ARP_INTERVAL,
	                               IFLA_BOND_ARP_IP_TARGET,
	                               IFLA_BOND_ARP_VALIDATE,
	                               IFLA_BOND_ARP_ALL_TARGETS,
	                               IFLA_BOND_PRIMARY,
	                               IFLA_BOND_PRIMARY_RESELECT,
	                               IFLA_BOND_FAIL_OVER_MAC,
	                               IFLA_BOND_XMIT_HASH_POLICY,
	                               IFLA_BOND_RESEND_IGMP,
	                               IFLA_BOND_NUM_PEER_NOTIF,
	                               IFLA_BOND_ALL_SLAVES_ACTIVE,
	                               IFLA_BOND_MIN_LINKS,
	                               IFLA_BOND_LP_INTERVAL,
	                               IFLA_BOND_PACKETS_PER_SLAVE,
	                               IFLA_BOND_AD_LACP_RATE,
	                               IFLA_BOND_AD_SELECT,
	                               IFLA_BOND_AD_ACTOR_SYS_PRIO,
	                               IFLA_BOND_AD_USER_PORT_KEY,
	                               IFLA_BOND_AD_ACTOR_SYSTEM,
	                               IFLA_BOND_TLB_DYNAMIC_LB,
	                               IFLA_BOND_PEER_NOTIF_DELAY,
	                               IFLA_BOND_AD_LACP_ACTIVE,
	                               IFLA_BOND_MISSED_MAX,
	                               IFLA_BOND_NS_IP6_TARGET,
	                               LINK_BOND_COUPLED_CONTROL,
	                               0 };

/* Delays cannot be set, not even to 0, where nothing is monitored that they would delay. */
static const uint16_t bond_zero[] = { IFLA_BOND_UPDELAY,      IFLA_BOND_DOWNDELAY,       IFLA_BOND_PEER_NOTIF_DELAY,
	                              IFLA_BOND_ARP_INTERVAL, IFLA_BOND_AD_ACTOR_SYSTEM, 0 };

#define MODE(n)          (1U << (n))
#define MODE_ROUND_ROBIN MODE(0)
#define MODE_BACKUP      MODE(1)
#define MODE_8023AD      MODE(4)
#define MODE_TLB         MODE(5)
#define MODE_ALB         MODE(6)
#define MODES_BALANCED   (MODE_8023AD | MODE_TLB | MODE_ALB)

/* The kernel shows all settings of a bond, and takes each in some of its modes only. */
static bool bond_takes(const struct nlattr *const *data, uint16_t attr)
{
	static const struct {
		uint16_t attr;
		unsigned modes;
	} only[] = {
		{ IFLA_BOND_ARP_INTERVAL, ~MODES_BALANCED },
		{ IFLA_BOND_ARP_VALIDATE, ~MODES_BALANCED },
		{ IFLA_BOND_MISSED_MAX, ~MODES_BALANCED },
		{ IFLA_BOND_PRIMARY, MODE_BACKUP | MODE_TLB | MODE_ALB },
		{ IFLA_BOND_PACKETS_PER_SLAVE, MODE_ROUND_ROBIN },
		{ IFLA_BOND_AD_LACP_RATE, MODE_8023AD },
		{ IFLA_BOND_AD_LACP_ACTIVE, MODE_8023AD },
		{ IFLA_BOND_AD_ACTOR_SYS_PRIO, MODE_8023AD },
		{ IFLA_BOND_AD_USER_PORT_KEY, MODE_8023AD },
		{ IFLA_BOND_AD_ACTOR_SYSTEM, MODE_8023AD },
		{ LINK_BOND_COUPLED_CONTROL, MODE_8023AD },
		{ IFLA_BOND_TLB_DYNAMIC_LB, MODE_TLB },
	};
	unsigned mode = data[IFLA_BOND_MODE] && mnl_attr_get_payload_len(data[IFLA_BOND_MODE])
	                    ? mnl_attr_get_u8(data[IFLA_BOND_MODE]) & 31U
	                    : 0;

	for (size_t i = 0; i < ARRAY_SIZE(only); i++)
		if (only[i].attr == attr)
			return only[i].modes & MODE(mode);
	return true;
}

static const uint16_t bond_port_attrs[] = { IFLA_BOND_SLAVE_QUEUE_ID, IFLA_BOND_SLAVE_PRIO, 0 };
static const uint16_t bond_port_zero[] = { IFLA_BOND_SLAVE_PRIO, 0 };

/* What the kernel takes of what it shows of a port of a bridge. */
static const uint16_t bridge_port_attrs[] = {
	IFLA_BRPORT_PRIORITY,      IFLA_BRPORT_COST,           IFLA_BRPORT_MODE,
	IFLA_BRPORT_GUARD,         IFLA_BRPORT_PROTECT,        IFLA_BRPORT_FAST_LEAVE,
	IFLA_BRPORT_LEARNING,      IFLA_BRPORT_UNICAST_FLOOD,  IFLA_BRPORT_PROXYARP,
	IFLA_BRPORT_LEARNING_SYNC, IFLA_BRPORT_PROXYARP_WIFI,  IFLA_BRPORT_MULTICAST_ROUTER,
	IFLA_BRPORT_MCAST_FLOOD,   IFLA_BRPORT_MCAST_TO_UCAST, IFLA_BRPORT_VLAN_TUNNEL,
	IFLA_BRPORT_BCAST_FLOOD,   IFLA_BRPORT_GROUP_FWD_MASK, IFLA_BRPORT_NEIGH_SUPPRESS,
	IFLA_BRPORT_ISOLATED,      IFLA_BRPORT_LOCKED,         0,
};

static const uint16_t bridge_port_zero[] = {
	IFLA_BRPORT_MODE,           IFLA_BRPORT_LEARNING_SYNC,  IFLA_BRPORT_VLAN_TUNNEL, IFLA_BRPORT_PROXYARP_WIFI,
	IFLA_BRPORT_NEIGH_SUPPRESS, IFLA_BRPORT_GROUP_FWD_MASK, IFLA_BRPORT_LOCKED,      0,
};

/* The kernel shows flags with a mask of all bits, and takes none with a bit that it does not know. */
static void mend_vlan(struct nlattr *a)
{
	static const uint32_t known = VLAN_FLAG_REORDER_HDR | VLAN_FLAG_GVRP | VLAN_FLAG_LOOSE_BINDING |
	                              VLAN_FLAG_MVRP | VLAN_FLAG_BRIDGE_BINDING;
	struct ifla_vlan_flags *f = mnl_attr_get_payload(a);

	if (mnl_attr_get_type(a) == IFLA_VLAN_FLAGS && mnl_attr_get_payload_len(a) >= sizeof(*f))
		f->mask = known;
}

static const char *refuse_vxlan(const struct link_seen *l, const struct nlattr *const *data)
{
	const struct nlattr *vnis = data[IFLA_VXLAN_VNIFILTER];

	return vnis && mnl_attr_get_payload_len(vnis) && mnl_attr_get_u8(vnis) ? "its filter of VNIs (vnifilter)"
	                                                                       : NULL;
}

/* What a new device has of the latter is said again: CRIU's images have none of it. */
static const uint16_t macvlan_attrs[] = { IFLA_MACVLAN_MODE, IFLA_MACVLAN_FLAGS, IFLA_MACVLAN_BC_QUEUE_LEN,
	                                  LINK_MACVLAN_BC_CUTOFF, 0 };

static const char *refuse_macvlan(const struct link_seen *l, const struct nlattr *const *data)
{
	return rtnl_u32(data[IFLA_MACVLAN_MACADDR_COUNT], 0) ? "its list of sources (macaddr)" : NULL;
}

static const struct netdev_kind kinds[] = {
	{ .name = "veth", .type = ND_TYPE__VETH },
	{ .name = "bridge",
	  .type = ND_TYPE__BRIDGE,
	  .attrs = bridge_attrs,
	  .zero = bridge_zero,
	  .port_attrs = bridge_port_attrs,
	  .port_zero = bridge_port_zero,
	  .has_ports = true },
	{ .name = "macvlan",
	  .type = ND_TYPE__MACVLAN,
	  .attrs = macvlan_attrs,
	  .refuse = refuse_macvlan,
	  .has_link = true },
	{ .name = "macvtap",
	  .type = ND_TYPE__OTHER,
	  .attrs = macvlan_attrs,
	  .refuse = refuse_macvlan,
	  .has_link = true },
	{ .name = "tun", .type = ND_TYPE__TUN },
	{ .name = "sit", .type = ND_TYPE__SIT, .attrs = ip_tunnel_attrs, .goes_by_birth = true },
	{ .name = "vxlan",
	  .type = ND_TYPE__OTHER,
	  .attrs = vxlan_attrs,
	  .flags = ATTRS(IFLA_VXLAN_TTL_INHERIT),
	  .refuse = refuse_vxlan,
	  .link_attr = IFLA_VXLAN_LINK,
	  .goes_by_birth = true },
	{ .name = "ifb", .type = ND_TYPE__OTHER },
	{ .name = "dummy", .type = ND_TYPE__OTHER },
	{ .name = "nlmon", .type = ND_TYPE__OTHER },
	{ .name = "vcan", .type = ND_TYPE__OTHER },
	{ .name = "vlan",
	  .type = ND_TYPE__OTHER,
	  .attrs =
	      ATTRS(IFLA_VLAN_ID, IFLA_VLAN_FLAGS, IFLA_VLAN_EGRESS_QOS, IFLA_VLAN_INGRESS_QOS, IFLA_VLAN_PROTOCOL),
	  .mend = mend_vlan,
	  .has_link = true },
	{ .name = "ipvlan",
	  .type = ND_TYPE__OTHER,
	  .attrs = ATTRS(IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS),
	  .has_link = true },
	{ .name = "ipvtap",
	  .type = ND_TYPE__OTHER,
	  .attrs = ATTRS(IFLA_IPVLAN_MODE, IFLA_IPVLAN_FLAGS),
	  .has_link = true },
	{ .name = "vrf", .type = ND_TYPE__OTHER, .attrs = ATTRS(IFLA_VRF_TABLE), .has_ports = true },
	{ .name = "bond",
	  .type = ND_TYPE__OTHER,
	  .attrs = bond_attrs,
	  .zero = bond_zero,
	  .takes = bond_takes,
	  .port_attrs = bond_port_attrs,
	  .port_zero = bond_port_zero,
	  .has_ports = true },
	{ .name = "wireguard", .type = ND_TYPE__OTHER, .goes_by_birth = true },
	{ .name = "geneve",
	  .type = ND_TYPE__OTHER,
	  .attrs = geneve_attrs,
	  .zero = ATTRS(IFLA_GENEVE_TTL_INHERIT), /* with which the kernel does not look at TTL */
	  .goes_by_birth = true },
	{ .name = "ipip", .type = ND_TYPE__OTHER, .attrs = ip_tunnel_attrs, .goes_by_birth = true },
	{ .name = "ip6tnl", .type = ND_TYPE__OTHER, .attrs = ip_tunnel_attrs, .goes_by_birth = true },
	{ .name = "gre", .type = ND_TYPE__OTHER, .attrs = gre_attrs, .goes_by_birth = true },
	{ .name = "gretap", .type = ND_TYPE__OTHER, .attrs = gre_attrs, .goes_by_birth = true },
	{ .name = "ip6gre", .type = ND_TYPE__OTHER, .attrs = gre_attrs, .goes_by_birth = true },
	{ .name = "ip6gretap", .type = ND_TYPE__OTHER, .attrs = gre_attrs, .goes_by_birth = true },
};

const struct netdev_kind *link_kind(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

const struct netdev_kind *link_kind_of(const NetDeviceEntry *e)
{
	if (e->kind)
		return link_kind(e->kind);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].type == e->type && e->type != ND_TYPE__OTHER)
			return &kinds[i];
	return NULL;
}
