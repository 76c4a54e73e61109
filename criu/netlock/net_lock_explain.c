/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Chains and rules of all tables are read. Each rule of the chains that our packet passes is evaluated with what is
 * known of the packet; what a rule asks beyond that (sets, connection tracking, xtables' matches) may hold or not.
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
#include "netlock/net_lock_rules.h"
#include "netlock/nft_eval.h"

#define RAW_PRIORITY (-300) /* of the chains of iptables' table "raw" */

struct nft_chain {
	uint32_t family;
	const char *table, *name;
	bool reached, drops; /* drops: by its policy */
	bool left;           /* the packet has left the chain at an earlier rule */
	int32_t priority;    /* of the first base chain that leads here */
};

struct nft_rule {
	uint32_t family;
	uint64_t handle;
	const char *table, *chain, *target; /* target: jump or goto */
	struct nftnl_rule *r;
};

struct ruleset {
	struct arena *a;
	const struct dropped_packet *p;
	struct nft_chain *chains;
	size_t n_chains;
	struct nft_rule *rules;
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
	struct nft_chain k = { .priority = INT32_MAX };

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
	struct nft_rule k = { .r = r };

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

static int read_objects(struct mnl_socket *nl, uint16_t type, mnl_cb_t keep, struct ruleset *s)
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
		err = read_objects(nl, NFT_MSG_GETCHAIN, keep_chain, s)
		          ?: read_objects(nl, NFT_MSG_GETRULE, keep_rule, s);
	mnl_socket_close(nl);
	return err;
}

/* ---- evaluating ---- */

static struct nft_chain *find_chain(const struct ruleset *s, const struct nft_rule *r, const char *name)
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
			const struct nft_rule *r = &s->rules[i];
			struct nft_chain *from = r->target ? find_chain(s, r, r->chain) : NULL;
			struct nft_chain *to = from && from->reached ? find_chain(s, r, r->target) : NULL;

			if (!to || (to->reached && to->priority <= from->priority))
				continue;
			to->reached = changed = true;
			to->priority = from->priority;
		}
	}
}

static bool is_excepted(const struct ruleset *s, const char *table)
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

static enum nft_eval eval_rule_in_chain(const struct ruleset *s, const struct nft_rule *r, struct nft_chain *c)
{
	struct nft_packet p = { .t = &s->p->t,
		                .mark = c->priority < NET_LOCK_PRIORITY_OWN ? s->p->mark : s->p->behind };
	enum nft_eval t;

	p.untracked = s->p->untracked && c->priority > RAW_PRIORITY;
	t = nft_eval_rule(r->r, &p);
	c->left = t == NFT_EVAL_ACCEPTS || t == NFT_EVAL_RETURNS;
	c->drops = c->drops && t != NFT_EVAL_ACCEPTS;
	return t;
}

static const char *find_dropping_rule(const struct ruleset *s, enum nft_eval *best)
{
	const struct nft_rule *found = NULL;

	for (size_t i = 0; i < s->n_rules; i++) {
		const struct nft_rule *r = &s->rules[i];
		struct nft_chain *c = is_excepted(s, r->table) ? NULL : find_chain(s, r, r->chain);
		enum nft_eval t = NFT_EVAL_NO;

		if (c && c->reached && !c->left)
			t = eval_rule_in_chain(s, r, c);
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

static const char *find_culprit(struct ruleset *s)
{
	enum nft_eval best = NFT_EVAL_NO;
	const char *text;

	follow_jumps(s);
	text = find_dropping_rule(s, &best);
	for (size_t i = 0; !text && i < s->n_chains; i++) {
		const struct nft_chain *c = &s->chains[i];

		if (c->drops)
			return arena_printf(s->a, "table %s %s, the policy of chain %s", family_name(c->family),
			                    c->table, c->name);
	}
	return text;
}

const char *net_lock_explain_drop(struct arena *a, const struct dropped_packet *p)
{
	struct ruleset s = { .a = a, .p = p };
	const char *text = read_ruleset(&s) ? NULL : find_culprit(&s);

	for (size_t i = 0; i < s.n_rules; i++)
		nftnl_rule_free(s.rules[i].r);
	return text;
}
