/* SPDX-License-Identifier: GPL-2.0-only */
/* A rule of somebody's, tried on a packet of which little is known. Inside of criu/core/. */
#ifndef CRIU_NETLOCK_NFT_EVAL_H
#define CRIU_NETLOCK_NFT_EVAL_H

#include "netlock/net_lock.h"

struct nftnl_rule;

/* Whether it drops the packet; and, less than that, whether it surely takes it out of its chain. */
enum nft_eval {
	NFT_TRY_ACCEPTS = -2,
	NFT_TRY_RETURNS,
	NFT_TRY_NO,
	NFT_TRY_MAYBE, /* if what it asks beyond addresses, ports and mark is so */
	NFT_TRY_MARK,  /* the same, and it asks for a mark, which the packet has */
	NFT_TRY_YES,
};

struct nft_packet {
	const struct net_tuple *t; /* TCP, from t->remote to t->local */
	uint32_t mark;
	bool untracked; /* by conntrack; false: that is not known */
};

enum nft_eval nft_eval_rule(struct nftnl_rule *r, const struct nft_packet *p);

/* The chain that it jumps or goes to, or NULL. It belongs to the rule. */
const char *nft_eval_target(struct nftnl_rule *r);

#endif
