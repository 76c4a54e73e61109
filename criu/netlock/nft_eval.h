/* SPDX-License-Identifier: GPL-2.0-only */
/* Evaluates a rule of a foreign table on a packet of which only a part is known. */
#ifndef CRIU_NETLOCK_NFT_EVAL_H
#define CRIU_NETLOCK_NFT_EVAL_H

#include "netlock/net_lock.h"

struct nftnl_rule;

/* Whether a rule drops the packet; below that, whether it surely takes the packet out of its chain. */
enum nft_eval {
	NFT_EVAL_ACCEPTS = -2,
	NFT_EVAL_RETURNS,
	NFT_EVAL_NO,
	NFT_EVAL_MAYBE, /* if what it asks beyond addresses, ports and mark holds */
	NFT_EVAL_MARK,  /* the same, and it asks for a mark that the packet has */
	NFT_EVAL_YES,
};

struct nft_packet {
	const struct net_tuple *t; /* TCP, from t->remote to t->local */
	uint32_t mark;
	bool untracked; /* by conntrack; false: not known */
};

enum nft_eval nft_eval_rule(struct nftnl_rule *r, const struct nft_packet *p);

/* The chain that the rule jumps or goes to, or NULL. The text belongs to the rule. */
const char *nft_eval_target(struct nftnl_rule *r);

#endif
