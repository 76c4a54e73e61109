/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lock that CRIU leaves with its --network-lock iptables: two rules a connection in the chains INPUT and OUTPUT of
 * iptables' table "filter", which drop what has not its mark. Nothing names the checkpoint; the addresses do.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_CRIU_H
#define CRIU_NETLOCK_NET_LOCK_CRIU_H

#include "netlock/net_lock.h"

/* Whether CRIU has locked any of these: 1, 0 (also where iptables is not installed), or a negative errno (logged). */
int net_lock_criu_exists(const struct net_tuple *tuples, size_t n);

/* Removes their rules. 0, -ENOENT where there are none, or a negative errno (logged). */
int net_lock_criu_remove(const struct net_tuple *tuples, size_t n);

#endif
