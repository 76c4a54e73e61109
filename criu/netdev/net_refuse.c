/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is in a network namespace and cannot be saved: IPsec, endpoints of MPTCP, rules of arptables and ebtables, BPF
 * programs of the namespace and of its devices. A kernel that lacks one has none of these, and is not made to load it.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/genetlink.h>
#include <linux/mptcp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/xfrm.h>
#include <arpa/inet.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "netdev/netdev.h"

static void refuse_content(const struct net *net, const char *what, const char *way_out)
{
	log_refusal(-ENOTSUP, "network namespace %u: has %s, which is not supported: %s", net->id, what, way_out);
}

/* A kernel that has no such thing says one of these. */
static void refuse_unlisted(const struct net *net, const char *what, int err)
{
	if (err && err != -ENOENT && err != -EOPNOTSUPP && err != -EPROTONOSUPPORT && err != -EINVAL)
		log_refusal(err, "network namespace %u: whether it has %s cannot be found out (netlink)", net->id,
		            what);
}

static int count_any(const struct nlmsghdr *h, void *n)
{
	++*(size_t *)n;
	return 0;
}

/* ---- IPsec ---- */

/* The kernel's socket of a family stands in the list where the family is there. */
static bool has_netlink(int family)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/thread-self/net/netlink", "re");
	char line[256];
	bool found = false;
	unsigned proto, pid;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, "%*s %u %u", &proto, &pid) == 2 && proto == (unsigned)family && !pid;
	return found;
}

static void refuse_xfrm(const struct net *net)
{
	static const struct {
		uint16_t get;
		size_t head;
	} lists[] = { { XFRM_MSG_GETSA, 0 }, { XFRM_MSG_GETPOLICY, 0 } };
	_cleanup_rtnl_ struct rtnl r = { 0 };
	size_t n = 0;

	if (!has_netlink(NETLINK_XFRM) || rtnl_open_family(&r, NETLINK_XFRM))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
		refuse_unlisted(net, "states or policies of IPsec",
		                rtnl_list_headed(&r, lists[i].get, lists[i].head, count_any, &n));
	if (n)
		refuse_content(net, "states or policies of IPsec (ip xfrm)", "remove them before the dump");
}

/* ---- MPTCP ---- */

static int take_limits(const struct nlmsghdr *h, void *other)
{
	const struct nlattr *tb[MPTCP_PM_ATTR_MAX + 1];
	enum { NEW_SUBFLOWS = 2, NEW_ADDRESSES = 0 };

	*(bool *)other = !rtnl_attrs(h, GENL_HDRLEN, tb, MPTCP_PM_ATTR_MAX) &&
	                 (rtnl_u32(tb[MPTCP_PM_ATTR_SUBFLOWS], NEW_SUBFLOWS) != NEW_SUBFLOWS ||
	                  rtnl_u32(tb[MPTCP_PM_ATTR_RCV_ADD_ADDRS], NEW_ADDRESSES) != NEW_ADDRESSES);
	return 0;
}

static void refuse_mptcp(const struct net *net)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct rtnl_genl ask = { .cmd = MPTCP_PM_CMD_GET_ADDR, .version = MPTCP_PM_VER };
	struct genlmsghdr *g;
	struct nlmsghdr *h;
	size_t n = 0;
	bool limits = false;

	if (access("/proc/sys/net/mptcp", F_OK) || rtnl_open_family(&r, NETLINK_GENERIC))
		return;
	ask.family = rtnl_genl_family(&r, MPTCP_PM_NAME);
	if (!ask.family)
		return;
	refuse_unlisted(net, "endpoints of MPTCP", rtnl_list_genl(&r, &ask, count_any, &n));
	h = rtnl_message(&r, ask.family, 0, sizeof(*g), &g);
	g->cmd = MPTCP_PM_CMD_GET_LIMITS;
	g->version = MPTCP_PM_VER;
	refuse_unlisted(net, "limits of MPTCP", rtnl_ask(&r, h, take_limits, &limits));
	if (n || limits)
		refuse_content(net, "endpoints or limits of MPTCP (ip mptcp)",
		               "remove them before the dump (ip mptcp endpoint flush; ip mptcp limits set subflows 2 "
		               "add_addr_accepted 0)");
}

/* ---- arptables, ebtables ---- */

static bool has_arptables(void)
{
	_cleanup_close_ int fd = open("/proc/thread-self/net/arp_tables_names", O_RDONLY | O_CLOEXEC);
	char c;

	return fd >= 0 && read(fd, &c, 1) == 1;
}

#define HOOKS_OF_BRIDGES 6 /* NF_BR_NUMHOOKS */

static int find_ebtables(const struct nlmsghdr *h, void *found)
{
	const struct nlattr *a;

	mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) if (mnl_attr_get_payload_len(a) >= 4 &&
	                                                     !strncmp(mnl_attr_get_payload(a), "ebt", 3)) *
	    (bool *)found = true;
	return 0;
}

/* The functions that the kernel calls for bridged packets: asked for, since to ask for the tables would make them. */
static bool has_ebtables(const struct net *net)
{
	enum { HOOK_SUBSYS = 12, HOOK_GET = 0, HOOK_NUMBER = 1 };
	_cleanup_rtnl_ struct rtnl r = { 0 };
	bool found = false;

	if (rtnl_open_family(&r, NETLINK_NETFILTER))
		return false;
	for (uint32_t i = 0; i < HOOKS_OF_BRIDGES; i++) {
		struct nfgenmsg *g;
		struct nlmsghdr *h = rtnl_message(&r, HOOK_SUBSYS << 8 | HOOK_GET, NLM_F_DUMP, sizeof(*g), &g);

		g->nfgen_family = NFPROTO_BRIDGE;
		mnl_attr_put_u32(h, HOOK_NUMBER, htonl(i));
		refuse_unlisted(net, "rules of ebtables", rtnl_list_asked(&r, h, find_ebtables, &found));
	}
	return found;
}

static bool has_bridge(const struct net *net)
{
	for (size_t i = 0; i < net->n_devs; i++)
		if (net->devs[i]->type == ND_TYPE__BRIDGE)
			return true;
	return false;
}

/* ---- BPF ---- */

static bool has_programs(uint32_t target, uint32_t attach_type)
{
	union bpf_attr q;

	memset(&q, 0, sizeof(q));
	q.query.target_fd = target; /* or an interface's number */
	q.query.attach_type = attach_type;
	return !syscall(SYS_bpf, BPF_PROG_QUERY, &q, sizeof(q)) && q.query.prog_cnt;
}

static void refuse_bpf(const struct net *net)
{
	enum { TCX_INGRESS = 46, TCX_EGRESS = 47 };
	_cleanup_close_ int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && (has_programs((uint32_t)fd, BPF_SK_LOOKUP) || has_programs((uint32_t)fd, BPF_FLOW_DISSECTOR)))
		refuse_content(net, "a BPF program of its own (sk_lookup or flow_dissector)",
		               "detach it before the dump");
	for (size_t i = 0; i < net->n_devs; i++) {
		const NetDeviceEntry *e = net->devs[i];

		if (has_programs(e->ifindex, TCX_INGRESS) || has_programs(e->ifindex, TCX_EGRESS))
			refuse_content(net, arena_printf(net->arena, "a BPF program (tcx) at the device %s", e->name),
			               "detach it before the dump");
	}
}

void net_refuse_look(const struct net *net)
{
	refuse_xfrm(net);
	refuse_mptcp(net);
	if (has_arptables())
		refuse_content(net, "rules of arptables", "remove its table before the dump, or use nftables");
	if (has_bridge(net) && has_ebtables(net))
		refuse_content(net, "rules of the older ebtables", "use nftables (ebtables-nft)");
	refuse_bpf(net);
}
