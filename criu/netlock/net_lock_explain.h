/* SPDX-License-Identifier: GPL-2.0-only */
/* A packet that criu sent was dropped: the firewall rule that most likely did it. */
#ifndef CRIU_NETLOCK_NET_LOCK_EXPLAIN_H
#define CRIU_NETLOCK_NET_LOCK_EXPLAIN_H

#include "netlock/net_lock.h"

struct dropped_packet {
	struct net_tuple t;    /* the packet goes from `remote` to `local` */
	uint32_t mark, behind; /* the packet's, before and behind our own table */
	bool untracked;        /* by conntrack, behind our own table or rules */
	bool sent;             /* false: refused with EPERM when it was sent; true: sent, but not received */
	const char *except[2]; /* names of tables that let it through, or NULL */
};

/*
 * Names the rule of nf_tables that most likely dropped the packet, in the arena: "table ip filter, chain KUBE-FIREWALL,
 * handle 7". NULL where no rule comes into question, or the rules cannot be read.
 */
const char *net_lock_explain_drop(struct arena *a, const struct dropped_packet *p);

#endif
