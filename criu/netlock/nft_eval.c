/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/in.h>
#include <stdio.h>

#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_mark.h>
#include <string.h>

#include "netlock/nft_eval.h"

#define REGISTERS 64 /* bytes: 4 of 16, or 16 of 4 */

/* Registers, or a header of the packet: which bytes are known. */
struct known_bytes {
	uint8_t value[REGISTERS];
	bool known[REGISTERS];
};

struct nft_machine {
	struct known_bytes reg, network, transport;
	uint32_t mark;
	uint8_t nfproto;
	bool of_mark[REGISTERS / 4]; /* registers that hold the mark, or bits of it */
	enum nft_eval so_far;
	bool untracked, drops, ended;
	uint32_t verdict; /* where it ended with one */
};

static void set_known(struct known_bytes *b, size_t at, const void *p, size_t len)
{
	if (at + len > REGISTERS)
		return;
	memcpy(b->value + at, p, len);
	memset(b->known + at, 1, len);
}

static void init_machine(struct nft_machine *m, const struct nft_packet *p)
{
	const struct net_tuple *t = p->t;
	bool v4 = t->family == AF_INET;
	const uint8_t tcp = IPPROTO_TCP, version = v4 ? 0x45 : 0x60;
	size_t len = v4 ? 4 : 16, from = v4 ? 12 : 8;

	*m = (struct nft_machine) { .mark = p->mark,
		                    .nfproto = v4 ? NFPROTO_IPV4 : NFPROTO_IPV6,
		                    .so_far = NFT_EVAL_YES,
		                    .untracked = p->untracked };
	if (v4)
		set_known(&m->network, 0, &version, 1);
	set_known(&m->network, v4 ? 9 : 6, &tcp, 1);
	set_known(&m->network, from, t->remote, len);
	set_known(&m->network, from + len, t->local, len);
	set_known(&m->transport, 0, &t->remote_port, 2);
	set_known(&m->transport, 2, &t->local_port, 2);
}

/* NFT_REG_1 to 4 have 16 bytes, NFT_REG32_00 to 15 have 4. */
static size_t register_at(uint32_t r)
{
	if (r >= NFT_REG32_00 && r <= NFT_REG32_15)
		return (r - NFT_REG32_00) * 4;
	return r >= NFT_REG_1 && r <= NFT_REG_4 ? (r - NFT_REG_1) * 16 : REGISTERS;
}

static void set_unknown(struct nft_machine *m, uint32_t r, size_t len)
{
	size_t at = register_at(r);

	if (at >= REGISTERS)
		return;
	m->of_mark[at / 4] = false;
	memset(m->reg.known + at, 0, MIN(len ?: 4, REGISTERS - at));
}

static void limit_to_maybe(struct nft_machine *m)
{
	m->so_far = MIN(m->so_far, NFT_EVAL_MAYBE);
}

/* ---- expressions ---- */

static void eval_meta(struct nft_machine *m, struct nftnl_expr *e)
{
	const uint8_t tcp = IPPROTO_TCP;
	uint32_t r = nftnl_expr_get_u32(e, NFTNL_EXPR_META_DREG);
	size_t at = register_at(r);

	if (nftnl_expr_is_set(e, NFTNL_EXPR_META_SREG))
		return; /* sets a value: no condition */
	set_unknown(m, r, 16);
	switch (nftnl_expr_get_u32(e, NFTNL_EXPR_META_KEY)) {
	case NFT_META_MARK:
		set_known(&m->reg, at, &m->mark, sizeof(m->mark));
		if (at < REGISTERS)
			m->of_mark[at / 4] = true;
		break;
	case NFT_META_NFPROTO:
		set_known(&m->reg, at, &m->nfproto, 1);
		break;
	case NFT_META_L4PROTO:
		set_known(&m->reg, at, &tcp, 1);
		break;
	}
}

static void eval_payload(struct nft_machine *m, struct nftnl_expr *e)
{
	uint32_t base = nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_BASE),
	         r = nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_DREG);
	size_t from = nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET), at = register_at(r);
	size_t len = nftnl_expr_get_u32(e, NFTNL_EXPR_PAYLOAD_LEN);
	const struct known_bytes *b = base == NFT_PAYLOAD_NETWORK_HEADER ? &m->network : &m->transport;

	if (nftnl_expr_is_set(e, NFTNL_EXPR_PAYLOAD_SREG))
		return;
	set_unknown(m, r, len);
	if (base != NFT_PAYLOAD_NETWORK_HEADER && base != NFT_PAYLOAD_TRANSPORT_HEADER)
		return;
	for (size_t i = 0; i < len && at + i < REGISTERS && from + i < REGISTERS; i++) {
		m->reg.value[at + i] = b->value[from + i];
		m->reg.known[at + i] = b->known[from + i];
	}
}

static void eval_bitwise(struct nft_machine *m, struct nftnl_expr *e)
{
	size_t from = register_at(nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_SREG));
	size_t to = register_at(nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_DREG));
	size_t len = nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_LEN);
	uint32_t mask_len = 0, xor_len = 0;
	const uint8_t *mask = nftnl_expr_get(e, NFTNL_EXPR_BITWISE_MASK, &mask_len);
	const uint8_t * xor = nftnl_expr_get(e, NFTNL_EXPR_BITWISE_XOR, &xor_len);

	if (!mask || !xor || mask_len < len || xor_len < len || from + len > REGISTERS || to + len > REGISTERS) {
		set_unknown(m, nftnl_expr_get_u32(e, NFTNL_EXPR_BITWISE_DREG), 16);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		m->reg.value[to + i] = (m->reg.value[from + i] & mask[i]) ^ xor[i];
		m->reg.known[to + i] = m->reg.known[from + i];
	}
	m->of_mark[to / 4] = m->of_mark[from / 4];
}

static bool comparison_holds(uint32_t op, int c)
{
	switch (op) {
	case NFT_CMP_EQ:
		return c == 0;
	case NFT_CMP_NEQ:
		return c != 0;
	case NFT_CMP_LT:
		return c < 0;
	case NFT_CMP_LTE:
		return c <= 0;
	case NFT_CMP_GT:
		return c > 0;
	default:
		return c >= 0;
	}
}

static void eval_cmp(struct nft_machine *m, struct nftnl_expr *e, bool *asks_mark)
{
	size_t at = register_at(nftnl_expr_get_u32(e, NFTNL_EXPR_CMP_SREG));
	uint32_t len = 0;
	const void *data = nftnl_expr_get(e, NFTNL_EXPR_CMP_DATA, &len);

	if (!data || at + len > REGISTERS) {
		limit_to_maybe(m);
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (!m->reg.known[at + i]) {
			limit_to_maybe(m);
			return;
		}
	}
	if (!comparison_holds(nftnl_expr_get_u32(e, NFTNL_EXPR_CMP_OP), memcmp(m->reg.value + at, data, len)))
		m->so_far = NFT_EVAL_NO;
	*asks_mark |= m->of_mark[at / 4];
}

/* A match of iptables that has no nf_tables expression. */
static void eval_match(struct nft_machine *m, struct nftnl_expr *e, bool *asks_mark)
{
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_MT_NAME) ?: "";
	uint32_t len = 0;
	const struct xt_mark_mtinfo1 *info = nftnl_expr_get(e, NFTNL_EXPR_MT_INFO, &len);

	if (!strcmp(name, "comment"))
		return;
	if (strcmp(name, "mark") || !info || len < sizeof(*info)) {
		limit_to_maybe(m);
		return;
	}
	if (((m->mark & info->mask) == info->mark) == info->invert)
		m->so_far = NFT_EVAL_NO;
	*asks_mark = true;
}

static void eval_immediate(struct nft_machine *m, struct nftnl_expr *e)
{
	uint32_t r = nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_DREG), len = 0;
	const void *data;

	if (nftnl_expr_is_set(e, NFTNL_EXPR_IMM_VERDICT)) {
		m->verdict = nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_VERDICT);
		m->drops = m->verdict == NF_DROP;
		m->ended = true;
		return;
	}
	data = nftnl_expr_get(e, NFTNL_EXPR_IMM_DATA, &len);
	set_unknown(m, r, 16);
	if (data)
		set_known(&m->reg, register_at(r), data, len);
}

static void eval_ct(struct nft_machine *m, struct nftnl_expr *e)
{
	const uint32_t untracked = NF_CT_STATE_UNTRACKED_BIT;
	uint32_t r = nftnl_expr_get_u32(e, NFTNL_EXPR_CT_DREG);

	if (nftnl_expr_is_set(e, NFTNL_EXPR_CT_SREG))
		return;
	set_unknown(m, r, 16);
	if (m->untracked && nftnl_expr_get_u32(e, NFTNL_EXPR_CT_KEY) == NFT_CT_STATE)
		set_known(&m->reg, register_at(r), &untracked, sizeof(untracked));
}

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (!strcmp(name, *names))
			return true;
	return false;
}

static void eval_expr(struct nft_machine *m, struct nftnl_expr *e, bool *asks_mark)
{
	static const char *const no_condition[] = {
		"counter", "log", "notrack", "nat", "masq", "objref", "target", NULL
	};
	const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME) ?: "";

	if (!strcmp(name, "meta"))
		eval_meta(m, e);
	else if (!strcmp(name, "payload"))
		eval_payload(m, e);
	else if (!strcmp(name, "bitwise"))
		eval_bitwise(m, e);
	else if (!strcmp(name, "cmp"))
		eval_cmp(m, e, asks_mark);
	else if (!strcmp(name, "immediate"))
		eval_immediate(m, e);
	else if (!strcmp(name, "match"))
		eval_match(m, e, asks_mark);
	else if (!strcmp(name, "reject") ||
	         (!strcmp(name, "target") && !strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME) ?: "", "REJECT")))
		m->drops = m->ended = true;
	else if (!strcmp(name, "ct"))
		eval_ct(m, e);
	else if (!is_one_of(name, no_condition))
		limit_to_maybe(m);
}

static enum nft_eval eval_exit(const struct nft_machine *m)
{
	if (!m->ended || m->so_far != NFT_EVAL_YES)
		return NFT_EVAL_NO;
	return m->verdict == NF_ACCEPT              ? NFT_EVAL_ACCEPTS
	       : m->verdict == (uint32_t)NFT_RETURN ? NFT_EVAL_RETURNS
	                                            : NFT_EVAL_NO;
}

enum nft_eval nft_eval_rule(struct nftnl_rule *r, const struct nft_packet *p)
{
	struct nftnl_expr_iter *i = nftnl_expr_iter_create(r);
	struct nftnl_expr *e;
	struct nft_machine m;
	bool asks_mark = false;

	if (!i)
		return NFT_EVAL_NO;
	init_machine(&m, p);
	while (!m.ended && m.so_far != NFT_EVAL_NO && (e = nftnl_expr_iter_next(i)))
		eval_expr(&m, e, &asks_mark);
	nftnl_expr_iter_destroy(i);
	if (!m.drops)
		return eval_exit(&m);
	return m.so_far == NFT_EVAL_MAYBE && asks_mark ? NFT_EVAL_MARK : m.so_far;
}

const char *nft_eval_target(struct nftnl_rule *r)
{
	struct nftnl_expr_iter *i = nftnl_expr_iter_create(r);
	const char *chain = NULL;
	struct nftnl_expr *e;

	while (i && (e = nftnl_expr_iter_next(i)))
		if (!strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME) ?: "", "immediate") &&
		    nftnl_expr_is_set(e, NFTNL_EXPR_IMM_CHAIN))
			chain = nftnl_expr_get_str(e, NFTNL_EXPR_IMM_CHAIN);
	if (i)
		nftnl_expr_iter_destroy(i);
	return chain;
}
