/* SPDX-License-Identifier: GPL-2.0-only */
/* The rules of the lock's chains "in" and "out". Inside of criu/core/. */
#ifndef CRIU_NETLOCK_NET_LOCK_RULES_H
#define CRIU_NETLOCK_NET_LOCK_RULES_H

#include "netlock/net_lock.h"
#include "netlock/nft.h"

/* A key: the socket's address and port, the peer's, each in whole 4-byte registers. */
#define TUPLE4_LEN 16
#define TUPLE6_LEN 40

/*
 * Adds them for one family (which: 0 IPv4, 1 IPv6) and its set, whose id in the transaction is which + 1. spec->before
 * needs the chain "pre" as well. 0 or -ENOMEM.
 */
int net_lock_rules_add(struct nft_batch *b, const char *set, int which, const struct net_lock_spec *spec);

#endif
