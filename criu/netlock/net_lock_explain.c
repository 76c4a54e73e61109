/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Chains and rules of all tables are read; each rule of the chains that our packet comes through is tried on what is
 * known of it. What a rule asks beyond that (sets, connection tracking, xtables' matches) may be so or not.
 */
#include <netinet/in.h>

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#include "netlock/net_lock_explain.h"
#include "netlock/nft_eval.h"

#define OUR_PRIORITY (-444) /* netlock/net_lock.c: from there on packets have another mark */
#define RAW_PRIORITY (-300) /* where iptables' rules are */

struct chain {
	uint32_t family;
	const char *table, *name;
	bool reached, drops; /* drops: by its policy */
	bool left;           /* at a rule that was met already */
	int32_t priority;    /* of the first base chain that leads here */
};

struct rule {
	uint32_t family;
	uint64_t handle;
	const char *table, *chain, *target; /* target: jump or goto */
	struct nftnl_rule *r;
};

struct ruleset {
	struct arena *a;
	const struct dropped_packet *p;
	struct chain *chains;
	size_t n_chains;
	struct rule *rules;
	size_t n_rules;
};

/* ---- reading ---- */

static bool is_of(const struct ruleset *s, uint32_t family)
{
	return family == NFPROTO_INET || family == (s->p->t.family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

static bool is_on_the_way(const struct ruleset *s, uint32_t hook)
{
	if (s->p->sent)
		return hook == NF_INET_PRE_ROUTING || hook == NF_INET_LOCAL_IN;
	return hook == NF_INET_LOCAL_OUT || hook == NF_INET_POST_ROUTING;
}

static int keep_chain(const struct nlmsghdr *h, void *arg)
{
	struct nftnl_chain *c = nftnl_chain_alloc();
	struct ruleset *s = arg;
	struct chain k = { .priority = INT32_MAX };

	if (!c)
		return MNL_CB_ERROR;
	if (nftnl_chain_nlmsg_parse(h, c) == 0 && is_of(s, nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY))) {
		k.family = nftnl_chain_get_u32(c, NFTNL_CHAIN_FAMILY);
		k.table = arena_strdup(s->a, nftnl_chain_get_str(c, NFTNL_CHAIN_TABLE) ?: "");
		k.name = arena_strdup(s->a, nftnl_chain_get_str(c, NFTNL_CHAIN_NAME) ?: "");
		if (nftnl_chain_is_set(c, NFTNL_CHAIN_HOOKNUM) &&
		    is_on_the_way(s, nftnl_chain_get_u32(c, NFTNL_CHAIN_HOOKNUM))) {
			k.reached = true;
			k.priority = nftnl_chain_get_s32(c, NFTNL_CHAIN_PRIO);
			k.drops = nftnl_chain_is_set(c, NFTNL_CHAIN_POLICY) &&
			          nftnl_chain_get_u32(c, NFTNL_CHAIN_POLICY) == NF_DROP;
		}
		arena_push(s->a, &s->chains, &s->n_chains, k);
	}
	nftnl_chain_free(c);
	return MNL_CB_OK;
}

static int keep_rule(const struct nlmsghdr *h, void *arg)
{
	struct nftnl_rule *r = nftnl_rule_alloc();
	struct ruleset *s = arg;
	struct rule k = { .r = r };

	if (!r)
		return MNL_CB_ERROR;
	if (nftnl_rule_nlmsg_parse(h, r) || !is_of(s, nftnl_rule_get_u32(r, NFTNL_RULE_FAMILY))) {
		nftnl_rule_free(r);
		return MNL_CB_OK;
	}
	k.family = nftnl_rule_get_u32(r, NFTNL_RULE_FAMILY);
	k.handle = nftnl_rule_get_u64(r, NFTNL_RULE_HANDLE);
	k.table = nftnl_rule_get_str(r, NFTNL_RULE_TABLE) ?: "";
	k.chain = nftnl_rule_get_str(r, NFTNL_RULE_CHAIN) ?: "";
	k.target = nft_eval_target(r);
	arena_push(s->a, &s->rules, &s->n_rules, k);
	return MNL_CB_OK;
}

static int read_all(struct mnl_socket *nl, uint16_t type, mnl_cb_t keep, struct ruleset *s)
{
	char buf[32768];
	struct nlmsghdr *h = nftnl_nlmsg_build_hdr(buf, type, NFPROTO_UNSPEC, NLM_F_DUMP, type);
	ssize_t n = mnl_socket_sendto(nl, h, h->nlmsg_len);
	int more = 1;

	while (n >= 0 && more > 0) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		if (n >= 0)
			more = mnl_cb_run(buf, (size_t)n, type, mnl_socket_get_portid(nl), keep, s);
	}
	return n < 0 || more < 0 ? -errno : 0;
}

static int read_ruleset(struct ruleset *s)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	if (!err)
		err = read_all(nl, NFT_MSG_GETCHAIN, keep_chain, s) ?: read_all(nl, NFT_MSG_GETRULE, keep_rule, s);
	mnl_socket_close(nl);
	return err;
}

/* ---- judging ---- */

static struct chain *find_chain(const struct ruleset *s, const struct rule *r, const char *name)
{
	for (size_t i = 0; i < s->n_chains; i++)
		if (s->chains[i].family == r->family && !strcmp(s->chains[i].table, r->table) &&
		    !strcmp(s->chains[i].name, name))
			return &s->chains[i];
	return NULL;
}

/* Jumps are at most 16 deep (NFT_JUMP_STACK_SIZE). */
static void follow_jumps(struct ruleset *s)
{
	bool changed = true;

	for (int depth = 0; changed && depth < 16; depth++) {
		changed = false;
		for (size_t i = 0; i < s->n_rules; i++) {
			const struct rule *r = &s->rules[i];
			struct chain *from = r->target ? find_chain(s, r, r->chain) : NULL;
			struct chain *to = from && from->reached ? find_chain(s, r, r->target) : NULL;

			if (!to || (to->reached && to->priority <= from->priority))
				continue;
			to->reached = changed = true;
			to->priority = from->priority;
		}
	}
}

static bool excepted(const struct ruleset *s, const char *table)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->p->except); i++)
		if (s->p->except[i] && !strcmp(s->p->except[i], table))
			return true;
	return false;
}

static const char *family_name(uint32_t family)
{
	return family == NFPROTO_INET ? "inet" : family == NFPROTO_IPV4 ? "ip" : "ip6";
}

static enum nft_eval judge_rule(const struct ruleset *s, const struct rule *r, struct chain *c)
{
	struct nft_packet p = { .t = &s->p->t, .mark = c->priority < OUR_PRIORITY ? s->p->mark : s->p->behind };
	enum nft_eval t;

	p.untracked = s->p->untracked && c->priority > RAW_PRIORITY;
	t = nft_eval_rule(r->r, &p);
	c->left = t == NFT_TRY_ACCEPTS || t == NFT_TRY_RETURNS;
	c->drops = c->drops && t != NFT_TRY_ACCEPTS;
	return t;
}

static const char *judge_rules(const struct ruleset *s, enum nft_eval *best)
{
	const struct rule *found = NULL;

	for (size_t i = 0; i < s->n_rules; i++) {
		const struct rule *r = &s->rules[i];
		struct chain *c = excepted(s, r->table) ? NULL : find_chain(s, r, r->chain);
		enum nft_eval t = NFT_TRY_NO;

		if (c && c->reached && !c->left)
			t = judge_rule(s, r, c);
		if (t > *best) {
			*best = t;
			found = r;
		}
	}
	if (!found)
		return NULL;
	return arena_printf(s->a, "table %s %s, chain %s, handle %llu", family_name(found->family), found->table,
	                    found->chain, (unsigned long long)found->handle);
}

static const char *judge(struct ruleset *s)
{
	enum nft_eval best = NFT_TRY_NO;
	const char *text;

	follow_jumps(s);
	text = judge_rules(s, &best);
	for (size_t i = 0; !text && i < s->n_chains; i++) {
		const struct chain *c = &s->chains[i];

		if (c->drops)
			return arena_printf(s->a, "table %s %s, the policy of chain %s", family_name(c->family),
			                    c->table, c->name);
	}
	return text;
}

const char *net_lock_explain_drop(struct arena *a, const struct dropped_packet *p)
{
	struct ruleset s = { .a = a, .p = p };
	const char *text = read_ruleset(&s) ? NULL : judge(&s);

	for (size_t i = 0; i < s.n_rules; i++)
		nftnl_rule_free(s.rules[i].r);
	return text;
}
