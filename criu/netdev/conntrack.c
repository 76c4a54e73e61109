/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections that the kernel tracks (nf_conntrack), so that rules know them: messages of ctnetlink, as it lists them.
 * What has been translated (NAT) is made again by saying how; the kernel finds the tuple of answers by itself.
 */
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <string.h>

#include "lib/log.h"
#include "netdev/netdev.h"

#define CT_NEW  (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW)
#define CT_GET  (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET)

#define EXP_NEW (NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_NEW)
#define EXP_GET (NFNL_SUBSYS_CTNETLINK_EXP << 8 | IPCTNL_MSG_EXP_GET)

/* ---- dump ---- */

/* Without any nothing has to be asked, which would load modules. */
static bool tracks_any(void)
{
	_cleanup_close_ int fd = open("/proc/sys/net/netfilter/nf_conntrack_count", O_RDONLY | O_CLOEXEC);
	char text[16] = "";

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) > 0;
}

int conntrack_look(struct net *net)
{
	struct rtnl r = { 0 };
	int err = tracks_any() ? rtnl_open_family(&r, NETLINK_NETFILTER) : -ENOENT;

	if (!err)
		err = net_list_read(net->arena, &r, CT_GET, CT_NEW, sizeof(struct nfgenmsg), &net->conntrack);
	if (!err)
		err = net_list_read(net->arena, &r, EXP_GET, EXP_NEW, sizeof(struct nfgenmsg), &net->expectations);
	rtnl_close(&r);
	return err == -ENOENT || err == -EOPNOTSUPP ? 0 : err ? log_errno(err, "listing tracked connections") : 0;
}

/* ---- restore ---- */

struct ct_end {
	const struct nlattr *ip[CTA_IP_MAX + 1], *proto[CTA_PROTO_MAX + 1], *all[CTA_TUPLE_MAX + 1];
};

static int read_end(const struct nlattr *tuple, struct ct_end *e)
{
	if (!tuple || rtnl_nested(tuple, e->all, CTA_TUPLE_MAX))
		return -EBADMSG;
	return rtnl_nested(e->all[CTA_TUPLE_IP], e->ip, CTA_IP_MAX)
	           ?: rtnl_nested(e->all[CTA_TUPLE_PROTO], e->proto, CTA_PROTO_MAX);
}

static const struct nlattr *address_of(const struct ct_end *e, bool source)
{
	return source ? e->ip[CTA_IP_V4_SRC] ?: e->ip[CTA_IP_V6_SRC] : e->ip[CTA_IP_V4_DST] ?: e->ip[CTA_IP_V6_DST];
}

static bool same_value(const struct nlattr *a, const struct nlattr *b)
{
	if (!a || !b)
		return a == b;
	return mnl_attr_get_payload_len(a) == mnl_attr_get_payload_len(b) &&
	       !memcmp(mnl_attr_get_payload(a), mnl_attr_get_payload(b), mnl_attr_get_payload_len(a));
}

static void copy_as(struct nlmsghdr *h, const struct nlattr *a, uint16_t type)
{
	if (a)
		mnl_attr_put(h, type, mnl_attr_get_payload_len(a), mnl_attr_get_payload(a));
}

/* The answer's tuple as it would be without translation: the other way round. */
static void put_inverse(struct nlmsghdr *h, const struct ct_end *e)
{
	struct nlattr *tuple = mnl_attr_nest_start(h, CTA_TUPLE_REPLY), *nest = mnl_attr_nest_start(h, CTA_TUPLE_IP);

	copy_as(h, e->ip[CTA_IP_V4_DST], CTA_IP_V4_SRC);
	copy_as(h, e->ip[CTA_IP_V4_SRC], CTA_IP_V4_DST);
	copy_as(h, e->ip[CTA_IP_V6_DST], CTA_IP_V6_SRC);
	copy_as(h, e->ip[CTA_IP_V6_SRC], CTA_IP_V6_DST);
	mnl_attr_nest_end(h, nest);
	nest = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
	copy_as(h, e->proto[CTA_PROTO_NUM], CTA_PROTO_NUM);
	copy_as(h, e->proto[CTA_PROTO_DST_PORT], CTA_PROTO_SRC_PORT);
	copy_as(h, e->proto[CTA_PROTO_SRC_PORT], CTA_PROTO_DST_PORT);
	mnl_attr_nest_end(h, nest);
	mnl_attr_nest_end(h, tuple);
}

/* To one address and port: those that answers are sent to, or come from. */
static void put_nat(struct nlmsghdr *h, uint16_t type, const struct ct_end *reply, bool source)
{
	struct nlattr *nest = mnl_attr_nest_start(h, type), *proto;
	const struct nlattr *ip = address_of(reply, !source);
	const struct nlattr *port = reply->proto[source ? CTA_PROTO_DST_PORT : CTA_PROTO_SRC_PORT];
	bool v4 = ip && mnl_attr_get_payload_len(ip) == 4;

	copy_as(h, ip, v4 ? CTA_NAT_V4_MINIP : CTA_NAT_V6_MINIP);
	copy_as(h, ip, v4 ? CTA_NAT_V4_MAXIP : CTA_NAT_V6_MAXIP);
	if (port) {
		proto = mnl_attr_nest_start(h, CTA_NAT_PROTO);
		copy_as(h, port, CTA_PROTONAT_PORT_MIN);
		copy_as(h, port, CTA_PROTONAT_PORT_MAX);
		mnl_attr_nest_end(h, proto);
	}
	mnl_attr_nest_end(h, nest);
}

/* What belongs to both ends; icmp has no ports, and its tuples are as they are. */
static int put_tuples(struct nlmsghdr *h, const struct nlattr *const *tb)
{
	struct ct_end orig = { 0 }, reply = { 0 };
	bool to_other_source, to_other_target;

	if (read_end(tb[CTA_TUPLE_ORIG], &orig) || read_end(tb[CTA_TUPLE_REPLY], &reply))
		return -EBADMSG;
	to_other_source = !same_value(address_of(&orig, true), address_of(&reply, false)) ||
	                  !same_value(orig.proto[CTA_PROTO_SRC_PORT], reply.proto[CTA_PROTO_DST_PORT]);
	to_other_target = !same_value(address_of(&orig, false), address_of(&reply, true)) ||
	                  !same_value(orig.proto[CTA_PROTO_DST_PORT], reply.proto[CTA_PROTO_SRC_PORT]);
	copy_as(h, tb[CTA_TUPLE_ORIG], CTA_TUPLE_ORIG | NLA_F_NESTED);
	if ((to_other_source || to_other_target) && orig.proto[CTA_PROTO_SRC_PORT])
		put_inverse(h, &orig);
	else
		copy_as(h, tb[CTA_TUPLE_REPLY], CTA_TUPLE_REPLY | NLA_F_NESTED);
	if (to_other_source)
		put_nat(h, CTA_NAT_SRC, &reply, true);
	if (to_other_target)
		put_nat(h, CTA_NAT_DST, &reply, false);
	return 0;
}

/* Bits of the status that the kernel sets by itself. */
#define KERNELS_STATUS (IPS_EXPECTED | IPS_NAT_MASK | IPS_NAT_DONE_MASK | IPS_DYING | IPS_OFFLOAD)

static int make_entry(struct rtnl *r, const struct nlmsghdr *entry)
{
	static const uint16_t kept[] = { CTA_PROTOINFO, CTA_HELP,         CTA_ZONE,
		                         CTA_LABELS,    CTA_SEQ_ADJ_ORIG, CTA_SEQ_ADJ_REPLY };
	const struct nfgenmsg *from = mnl_nlmsg_get_payload(entry);
	const struct nlattr *tb[CTA_MAX + 1];
	struct nfgenmsg *to;
	struct nlmsghdr *h;
	int err;

	if (entry->nlmsg_len > RTNL_BUFFER / 4 || rtnl_attrs(entry, sizeof(*from), tb, CTA_MAX) || !tb[CTA_TIMEOUT])
		return tb[CTA_TIMEOUT] ? -EBADMSG : 0; /* about to end */
	h = rtnl_message(r, CT_NEW, NLM_F_CREATE | NLM_F_EXCL, sizeof(*to), &to);
	*to = (struct nfgenmsg) { .nfgen_family = from->nfgen_family, .version = NFNETLINK_V0 };
	err = put_tuples(h, tb);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		copy_as(h, tb[kept[i]], tb[kept[i]] ? tb[kept[i]]->nla_type : 0);
	copy_as(h, tb[CTA_TIMEOUT], CTA_TIMEOUT);
	copy_as(h, tb[CTA_MARK], CTA_MARK);
	if (tb[CTA_STATUS])
		mnl_attr_put_u32(h, CTA_STATUS, htonl(ntohl(rtnl_u32(tb[CTA_STATUS], 0)) & ~(uint32_t)KERNELS_STATUS));
	err = err ?: rtnl_do(r, h);
	return err == -EEXIST ? 0 : err;
}

/* A connection that a helper of the kernel's (ftp) has been told of by another one, its master. */
static int make_expectation(struct rtnl *r, const struct nlmsghdr *entry)
{
	static const uint16_t kept[] = { CTA_EXPECT_MASTER, CTA_EXPECT_TUPLE,    CTA_EXPECT_MASK,  CTA_EXPECT_TIMEOUT,
		                         CTA_EXPECT_ZONE,   CTA_EXPECT_FLAGS,    CTA_EXPECT_CLASS, CTA_EXPECT_NAT,
		                         CTA_EXPECT_FN,     CTA_EXPECT_HELP_NAME };
	const struct nfgenmsg *from = mnl_nlmsg_get_payload(entry);
	const struct nlattr *tb[CTA_EXPECT_MAX + 1];
	struct nfgenmsg *to;
	struct nlmsghdr *h;
	int err;

	if (entry->nlmsg_len > RTNL_BUFFER / 4 || rtnl_attrs(entry, sizeof(*from), tb, CTA_EXPECT_MAX))
		return -EBADMSG;
	h = rtnl_message(r, EXP_NEW, NLM_F_CREATE | NLM_F_EXCL, sizeof(*to), &to);
	*to = (struct nfgenmsg) { .nfgen_family = from->nfgen_family, .version = NFNETLINK_V0 };
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		copy_as(h, tb[kept[i]], tb[kept[i]] ? tb[kept[i]]->nla_type : 0);
	err = rtnl_do(r, h);
	return err == -EEXIST || err == -EBUSY ? 0 : err;
}

static int apply_expectations(const struct net *net)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	int left = (int)net->expectations.n, err = left ? rtnl_open_family(&r, NETLINK_NETFILTER) : 0;

	for (const struct nlmsghdr *h = (const void *)net->expectations.v; !err && mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left)) {
		int part = make_expectation(&r, h);

		if (part)
			log_warn("network namespace %u: an expected connection could not be noted: %s%s", net->id,
			         strerror(-part), r.said);
	}
	return err;
}

int conntrack_apply(const struct net *net)
{
	struct rtnl r = { 0 };
	int left = (int)net->conntrack.n, err = left ? rtnl_open_family(&r, NETLINK_NETFILTER) : 0;
	size_t lost = 0;

	for (const struct nlmsghdr *h = (const void *)net->conntrack.v; !err && mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left)) {
		int part = make_entry(&r, h);

		if (part && !lost++)
			log_warn("network namespace %u: a tracked connection could not be made: %s%s", net->id,
			         strerror(-part), r.said);
	}
	if (lost)
		log_warn(
		    "network namespace %u: %zu tracked connections are lost: packets of theirs are new to its rules",
		    net->id, lost);
	rtnl_close(&r);
	return err ?: apply_expectations(net);
}
