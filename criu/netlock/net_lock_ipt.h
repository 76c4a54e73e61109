/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network lock by iptables(8), for kernels without nf_tables: the same as netlock/net_lock.h, in chains of our own
 * of the tables "raw" and "mangle". One run of iptables-restore (and one of ip6tables-restore where there are IPv6
 * connections) makes all rules, one takes them away. Nothing owns them: the guardian does it for a tool that died.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_IPT_H
#define CRIU_NETLOCK_NET_LOCK_IPT_H

#include "netlock/net_lock.h"

/*
 * Locks; name: "CRIU-" and up to 20 letters, digits and dashes that count. Packets with the mark pass, untracked, and
 * have the mark `behind` then. As long as iptables works, it and what it starts have `held` (a descriptor) too. 0 or a
 * negative errno (logged, with what iptables said).
 */
int net_lock_ipt_take(const char *name, uint32_t mark, uint32_t behind, const struct net_tuple *tuples, size_t n,
                      int held);

/* As net_lock_remove() and net_lock_there(), for both families. Where iptables is not installed there is none. */
int net_lock_ipt_remove(const char *name);
int net_lock_ipt_exists(const char *name);

#endif
