/* SPDX-License-Identifier: GPL-2.0-only */
/* A rule of somebody's, tried on a packet of which little is known. Inside of criu/core/. */
#ifndef CRIU_CORE_NFT_TRY_H
#define CRIU_CORE_NFT_TRY_H

#include "core/net_lock.h"

struct nftnl_rule;

/* Whether it drops the packet. */
enum nft_try {
	NFT_TRY_NO,
	NFT_TRY_MAYBE, /* if what it asks beyond addresses, ports and mark is so */
	NFT_TRY_MARK,  /* the same, and it asks for a mark, which the packet has */
	NFT_TRY_YES,
};

/* A TCP packet from t->remote to t->local with that mark. */
enum nft_try nft_try_rule(struct nftnl_rule *r, const struct net_tuple *t, uint32_t mark);

/* The chain that it jumps or goes to, or NULL. It belongs to the rule. */
const char *nft_try_target(struct nftnl_rule *r);

#endif
