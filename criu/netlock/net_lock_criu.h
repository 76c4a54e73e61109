/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lock of --network-lock iptables as CRIU has it, and as a dump leaves it for CRIU or us: two rules a connection in
 * the chains INPUT and OUTPUT of iptables' table "filter", which drop what has not CRIU's mark. Nothing names the
 * checkpoint; the addresses do.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_CRIU_H
#define CRIU_NETLOCK_NET_LOCK_CRIU_H

#include "netlock/net_lock.h"

/*
 * Locks: one run of iptables-restore, and one of ip6tables-restore. `held` as in net_lock_ipt_take(). 0 or a negative
 * errno (logged, with the output of iptables).
 */
int net_lock_criu_take(const struct net_tuple *tuples, size_t n, int held);

/* Whether any of these are locked: 1, 0 (also where iptables is not installed), or a negative errno (logged). */
int net_lock_criu_exists(const struct net_tuple *tuples, size_t n);

/* Removes their rules. 0, -ENOENT where there are none, or a negative errno (logged). */
int net_lock_criu_remove(const struct net_tuple *tuples, size_t n);

#endif
