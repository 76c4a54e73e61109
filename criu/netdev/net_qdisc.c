/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queueing disciplines (tc(8)) that were set, of the kinds without classes: messages of rtnetlink. One that a device
 * gets by itself has no handle. Classes, filters and actions are refused.
 */
#include <linux/pkt_sched.h>
#include <string.h>

#include "lib/log.h"
#include "netdev/netdev.h"

struct qdisc_reading {
	struct net *net;
	const char *name; /* of a device */
	size_t room;
};

static const char *name_of(const struct net *net, int ifindex)
{
	for (size_t i = 0; i < net->n_devs; i++)
		if ((int)net->devs[i]->ifindex == ifindex)
			return net->devs[i]->name;
	return "?";
}

static const char *kind_of(struct arena *a, const struct nlattr *kind)
{
	return kind ? arena_printf(a, "%.*s", (int)mnl_attr_get_payload_len(kind),
	                           (const char *)mnl_attr_get_payload(kind))
	            : "";
}

/* Those whose options the kernel takes as it shows them. */
static bool is_simple(const char *kind)
{
	static const char *const simple[] = { "pfifo", "bfifo", "pfifo_fast", "tbf",     "fq",     "fq_codel",
		                              "codel", "sfq",   "noqueue",    "ingress", "clsact", "mq" };

	for (size_t i = 0; i < ARRAY_SIZE(simple); i++)
		if (!strcmp(simple[i], kind))
			return true;
	return false;
}

static void keep_message(struct qdisc_reading *g, const struct nlmsghdr *h)
{
	struct net_bytes *b = &g->net->list[NET_QDISCS];
	size_t len = NLMSG_ALIGN(h->nlmsg_len);

	if (b->n + len > g->room) {
		char *more = arena_alloc(g->net->arena, g->room = 2 * g->room + len + 4096);

		memcpy(more, b->v ?: "", b->n);
		b->v = more;
	}
	memcpy(b->v + b->n, h, h->nlmsg_len);
	b->n += len;
}

static int look_at_qdisc(const struct nlmsghdr *h, void *arg)
{
	struct qdisc_reading *g = arg;
	const struct net *net = g->net;
	const struct tcmsg *m = mnl_nlmsg_get_payload(h);
	const struct nlattr *tb[TCA_MAX + 1];
	const char *kind, *name;
	bool top;

	if (h->nlmsg_type != RTM_NEWQDISC || rtnl_attrs(h, sizeof(*m), tb, TCA_MAX) || !TC_H_MAJ(m->tcm_handle))
		return 0;
	kind = kind_of(net->arena, tb[TCA_KIND]);
	name = name_of(net, m->tcm_ifindex);
	top = m->tcm_parent == TC_H_ROOT || m->tcm_parent == TC_H_INGRESS;
	if (top && is_simple(kind) && !tb[TCA_STAB] && !tb[TCA_INGRESS_BLOCK] && !tb[TCA_EGRESS_BLOCK])
		keep_message(g, h);
	else
		log_refusal(-ENOTSUP,
		            "network namespace %u: device %s: has the queueing discipline %s (%x:), which is not "
		            "supported: remove it before the dump (tc qdisc del dev %s %s)",
		            net->id, name, kind, TC_H_MAJ(m->tcm_handle) >> 16, name,
		            m->tcm_parent == TC_H_INGRESS ? kind : "root");
	return 0;
}

static int look_at_filter(const struct nlmsghdr *h, void *arg)
{
	const struct qdisc_reading *g = arg;
	const struct nlattr *tb[TCA_MAX + 1];

	if (h->nlmsg_type == RTM_NEWTFILTER && !rtnl_attrs(h, sizeof(struct tcmsg), tb, TCA_MAX))
		log_refusal(-ENOTSUP,
		            "network namespace %u: device %s: has a filter of type %s (tc filter), which is not "
		            "supported: remove it before the dump",
		            g->net->id, g->name, kind_of(g->net->arena, tb[TCA_KIND]));
	return 0;
}

/* Of one queueing discipline; clsact has two places for them. */
static int look_at_filters(struct qdisc_reading *g, struct rtnl *r, const struct tcmsg *qdisc)
{
	const uint32_t parents[] = { qdisc->tcm_handle, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		                     TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
	bool both = qdisc->tcm_parent == TC_H_INGRESS;
	int err = 0;

	g->name = name_of(g->net, qdisc->tcm_ifindex);
	for (size_t i = both ? 1 : 0; !err && i < (both ? 3 : 1); i++) {
		struct tcmsg *m;
		struct nlmsghdr *h = rtnl_message(r, RTM_GETTFILTER, NLM_F_DUMP, sizeof(*m), &m);

		m->tcm_ifindex = qdisc->tcm_ifindex;
		m->tcm_parent = parents[i];
		err = rtnl_list_asked(r, h, look_at_filter, g);
	}
	return err == -EOPNOTSUPP || err == -EINVAL ? 0 : err; /* it has no place for filters */
}

int net_qdisc_look(struct net *net)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct qdisc_reading g = { .net = net };
	const struct net_bytes *b = &net->list[NET_QDISCS];
	int err = rtnl_open(&r), left;

	if (err)
		return err;
	err = rtnl_list_headed(&r, RTM_GETQDISC, sizeof(struct tcmsg), look_at_qdisc, &g);
	if (err == -EOPNOTSUPP)
		return 0;
	left = (int)b->n;
	for (const struct nlmsghdr *h = (const void *)b->v; !err && mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left))
		err = look_at_filters(&g, &r, mnl_nlmsg_get_payload(h));
	return err ? log_errno(err, "rtnetlink: listing queueing disciplines and filters%s", r.said) : 0;
}

/* ---- restore ---- */

int net_qdisc_apply(const struct net *net)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	const struct net_bytes *b = &net->list[NET_QDISCS];
	int err = b->n ? rtnl_open(&r) : 0, left = (int)b->n;

	for (const struct nlmsghdr *h = (const void *)b->v; !err && mnl_nlmsg_ok(h, left);
	     h = mnl_nlmsg_next(h, &left)) {
		const struct tcmsg *from = mnl_nlmsg_get_payload(h);
		const struct nlattr *tb[TCA_MAX + 1];
		struct nlmsghdr *out;
		struct tcmsg *to;

		if (rtnl_attrs(h, sizeof(*from), tb, TCA_MAX) || !tb[TCA_KIND] || h->nlmsg_len > RTNL_BUFFER / 4)
			return log_errno(-EBADMSG, "netns-%u.img: a queueing discipline is damaged", net->id);
		out = rtnl_message(&r, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*to), &to);
		to->tcm_ifindex = from->tcm_ifindex;
		to->tcm_handle = from->tcm_handle;
		to->tcm_parent = from->tcm_parent;
		mnl_attr_put(out, TCA_KIND, mnl_attr_get_payload_len(tb[TCA_KIND]), mnl_attr_get_payload(tb[TCA_KIND]));
		if (tb[TCA_OPTIONS])
			mnl_attr_put(out, TCA_OPTIONS, mnl_attr_get_payload_len(tb[TCA_OPTIONS]),
			             mnl_attr_get_payload(tb[TCA_OPTIONS]));
		err = rtnl_do(&r, out);
		if (err)
			log_errno(err, "network namespace %u: device %s: RTM_NEWQDISC (%s)%s", net->id,
			          name_of(net, from->tcm_ifindex), kind_of(net->arena, tb[TCA_KIND]), r.said);
	}
	return err;
}
