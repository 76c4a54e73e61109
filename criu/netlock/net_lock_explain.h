/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet of ours was refused: by which rule? */
#ifndef CRIU_NETLOCK_NET_LOCK_EXPLAIN_H
#define CRIU_NETLOCK_NET_LOCK_EXPLAIN_H

#include "netlock/net_lock.h"

struct dropped_packet {
	struct net_tuple t;    /* it goes from `remote` to `local` */
	uint32_t mark, behind; /* before and behind our own table */
	bool untracked;        /* behind our own table or rules */
	bool sent;             /* false: refused with EPERM where it was sent; true: sent, but it did not arrive */
	const char *except[2]; /* tables that let it pass: names or NULL */
};

/*
 * Looks through nf_tables for the rule that most likely dropped it, and says which it is, in the arena: "table ip
 * filter, chain KUBE-FIREWALL, handle 7". NULL where no rule comes into question, or nobody may look.
 */
const char *net_lock_explain_drop(struct arena *a, const struct dropped_packet *p);

#endif
