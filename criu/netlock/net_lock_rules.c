/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "format.h"
#include "netlock/net_lock_rules.h"

#define LO_INDEX 1U /* in every network namespace */

static struct nftnl_expr *add_expr(struct nftnl_rule *r, const char *name)
{
	struct nftnl_expr *e = nftnl_expr_alloc(name);

	if (e)
		nftnl_rule_add_expr(r, e);
	return e;
}

/* The rule goes on only where the meta key compares so. */
static bool match_meta(struct nftnl_rule *r, uint32_t key, uint32_t op, const void *value, uint32_t len)
{
	struct nftnl_expr *meta = add_expr(r, "meta"), *cmp = add_expr(r, "cmp");

	if (!meta || !cmp)
		return false;
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_KEY, key);
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_DREG, NFT_REG_1);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
	nftnl_expr_set_u32(cmp, NFTNL_EXPR_CMP_OP, op);
	nftnl_expr_set(cmp, NFTNL_EXPR_CMP_DATA, value, len);
	return true;
}

static bool load_header(struct nftnl_rule *r, uint32_t base, uint32_t offset, uint32_t len, uint32_t *reg)
{
	struct nftnl_expr *e = add_expr(r, "payload");

	if (!e)
		return false;
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
	nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, *reg);
	*reg += (len + 3) / 4;
	return true;
}

/* The rule goes on only for TCP packets of a connection in the set: from our socket, or (to_us) to it. */
static bool match_tuple(struct nftnl_rule *r, const char *set, int which, bool to_us)
{
	uint32_t len = which ? 16 : 4, source = which ? 8 : 12, reg = NFT_REG32_00;
	uint32_t local = source + (to_us ? len : 0), remote = source + (to_us ? 0 : len);
	uint8_t family = which ? NFPROTO_IPV6 : NFPROTO_IPV4, tcp = IPPROTO_TCP;
	struct nftnl_expr *e;

	if (!match_meta(r, NFT_META_NFPROTO, NFT_CMP_EQ, &family, 1) ||
	    !match_meta(r, NFT_META_L4PROTO, NFT_CMP_EQ, &tcp, 1))
		return false;
	if (!load_header(r, NFT_PAYLOAD_NETWORK_HEADER, local, len, &reg) ||
	    !load_header(r, NFT_PAYLOAD_TRANSPORT_HEADER, to_us ? 2 : 0, 2, &reg) ||
	    !load_header(r, NFT_PAYLOAD_NETWORK_HEADER, remote, len, &reg) ||
	    !load_header(r, NFT_PAYLOAD_TRANSPORT_HEADER, to_us ? 0 : 2, 2, &reg))
		return false;
	e = add_expr(r, "lookup");
	if (!e)
		return false;
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG32_00);
	nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
	nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, (uint32_t)which + 1);
	return true;
}

static bool set_verdict(struct nftnl_rule *r, uint32_t what)
{
	struct nftnl_expr *e = add_expr(r, "immediate");

	if (!e)
		return false;
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
	nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, what);
	return true;
}

static bool set_mark(struct nftnl_rule *r, uint32_t mark)
{
	struct nftnl_expr *value = add_expr(r, "immediate"), *meta = add_expr(r, "meta");

	if (!value || !meta)
		return false;
	nftnl_expr_set_u32(value, NFTNL_EXPR_IMM_DREG, NFT_REG_1);
	nftnl_expr_set(value, NFTNL_EXPR_IMM_DATA, &mark, sizeof(mark));
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_KEY, NFT_META_MARK);
	nftnl_expr_set_u32(meta, NFTNL_EXPR_META_SREG, NFT_REG_1);
	return true;
}

static struct nftnl_rule *new_rule(const char *table, const char *chain)
{
	struct nftnl_rule *r = nftnl_rule_alloc();

	if (!r)
		return NULL;
	nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table);
	nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain);
	nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, NFPROTO_INET);
	return r;
}

static int send_rule(struct nft_batch *b, struct nftnl_rule *r, bool whole)
{
	struct nlmsghdr *h = whole ? nft_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND) : NULL;

	if (h) {
		nftnl_rule_nlmsg_build_payload(h, r);
		nft_end(b, h);
	}
	if (r)
		nftnl_rule_free(r);
	return h ? 0 : -ENOMEM;
}

/* Accepts packets with the mark `mark`, to our sockets or (to_us false) as if from them. */
static int add_accept_rule(struct nft_batch *b, const char *chain, const char *set, int which,
                           const struct net_lock_spec *spec, uint32_t mark, bool to_us)
{
	struct nftnl_rule *r = new_rule(spec->name, chain);
	bool whole = r && match_tuple(r, set, which, to_us) && match_meta(r, NFT_META_MARK, NFT_CMP_EQ, &mark, 4);

	return send_rule(b, r, whole && set_verdict(r, NF_ACCEPT));
}

/*
 * Gives packets to our sockets with the mark `mark` another one, so that no later rule sees ours, and keeps conntrack
 * from calling them invalid.
 */
static int add_mark_change(struct nft_batch *b, const char *chain, const char *set, int which,
                           const struct net_lock_spec *spec, uint32_t mark, uint32_t then)
{
	struct nftnl_rule *r = new_rule(spec->name, chain);
	bool whole = r && match_tuple(r, set, which, true) && match_meta(r, NFT_META_MARK, NFT_CMP_EQ, &mark, 4);

	return send_rule(b, r, whole && set_mark(r, then) && add_expr(r, "notrack"));
}

/*
 * Drops packets to our sockets that come over other devices than lo; those over lo have passed "out". Before conntrack
 * ("in") packets that are translated (DNAT, or answers to masqueraded ones) do not have the socket's addresses yet;
 * where they are delivered ("local") they have.
 */
static int add_drop_rule(struct nft_batch *b, const char *chain, const char *set, int which,
                         const struct net_lock_spec *spec)
{
	const uint32_t lo = LO_INDEX;
	struct nftnl_rule *r = new_rule(spec->name, chain);
	bool whole = r && match_meta(r, NFT_META_IIF, NFT_CMP_NEQ, &lo, 4) && match_tuple(r, set, which, true);

	return send_rule(b, r, whole && set_verdict(r, NF_DROP));
}

int net_lock_rules_add(struct nft_batch *b, const char *set, int which, const struct net_lock_spec *spec)
{
	uint32_t mark = spec->before ?: spec->mark;
	int err = 0;

	if (spec->before)
		err = add_mark_change(b, "pre", set, which, spec, spec->mark, mark);
	if (!err && spec->kind != NET_LOCK_DUMP)
		err = add_accept_rule(b, "out", set, which, spec, mark, true);
	/* The peer may be in another tree that is restored at this moment. */
	if (!err)
		err = add_accept_rule(b, "out", set, which, spec, mark, false);
	/* It may be CRIU that restores this checkpoint, or the peer's. */
	for (int to_us = 0; !err && to_us < 2 && spec->kind == NET_LOCK_LASTING; to_us++)
		err = add_accept_rule(b, "out", set, which, spec, NETWORK_LOCK_CRIU_MARK, to_us);
	if (!err && spec->kind == NET_LOCK_RESTORE)
		err = add_mark_change(b, "own", set, which, spec, mark, spec->behind);
	for (int to_us = 0; !err && to_us < 2; to_us++) {
		struct nftnl_rule *r = new_rule(spec->name, "out");

		err = send_rule(b, r, r && match_tuple(r, set, which, to_us) && set_verdict(r, NF_DROP));
	}
	return err ?: add_drop_rule(b, "in", set, which, spec) ?: add_drop_rule(b, "local", set, which, spec);
}
