/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The chains of the lock's table and their rules: "out" (LOCAL_OUT) for packets from and to our sockets, "in"
 * (PREROUTING) and "local" (LOCAL_IN) for those to them, "pre" and "own" (LOCAL_OUT) to change marks.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_RULES_H
#define CRIU_NETLOCK_NET_LOCK_RULES_H

#include "netlock/net_lock.h"
#include "netlock/nft.h"

/*
 * Priorities: before defragmentation (-400), raw (-300) and conntrack (-200). A restore's own table sees packets after
 * the lasting one.
 */
#define NET_LOCK_PRIORITY         (-450)
#define NET_LOCK_PRIORITY_RESTORE (-445)
#define NET_LOCK_PRIORITY_PRE     (-455) /* ... and before it, where that wants another mark */
#define NET_LOCK_PRIORITY_OWN     (-444) /* behind the tables of all restores: our packets lose their mark */

/* A key: the socket's address and port, the peer's, each in whole 4-byte registers. */
#define TUPLE4_LEN                16
#define TUPLE6_LEN                40

/*
 * Adds the rules for one family (which: 0 IPv4, 1 IPv6) and its set, whose id in the transaction is which + 1.
 * spec->before needs the chain "pre" as well. 0 or -ENOMEM.
 */
int net_lock_rules_add(struct nft_batch *b, const char *set, int which, const struct net_lock_spec *spec);

#endif
