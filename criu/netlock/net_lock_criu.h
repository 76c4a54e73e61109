/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lock that CRIU leaves with its --network-lock iptables: two rules a connection in the chains INPUT and OUTPUT of
 * iptables' table "filter", which drop what has not its mark. Nothing names the checkpoint; the addresses do.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_CRIU_H
#define CRIU_NETLOCK_NET_LOCK_CRIU_H

#include "netlock/net_lock.h"

/* Whether there is one of these connections: 1, 0, or a negative errno (logged). Without iptables there is none. */
int net_lock_criu_exists(const struct net_tuple *tuples, size_t n);

/* 0, -ENOENT where there are none, or a negative errno (logged). */
int net_lock_criu_remove(const struct net_tuple *tuples, size_t n);

#endif
