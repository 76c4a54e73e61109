/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network lock by iptables(8), for kernels without nf_tables: the same as netlock/net_lock.h, in chains of our own
 * in the tables "raw" and "mangle". One run of iptables-restore (and one of ip6tables-restore where there are IPv6
 * connections) makes all rules, another removes them. The kernel does not remove them when criu dies: the guardian
 * does.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_IPT_H
#define CRIU_NETLOCK_NET_LOCK_IPT_H

#include "netlock/net_lock.h"

/* Packets with the mark `ours` pass, untracked, and leave with the mark `behind` (0: none). */
struct net_lock_ipt_marks {
	uint32_t ours, behind;
	bool pass_filter; /* what has the mark behind passes the table "filter" too, where a dump left CRIU's rules */
};

/*
 * Locks; name: "CRIU-" and letters, digits and dashes, of which 20 count. iptables and its children inherit the
 * descriptor `held`, so that their end can be waited for. 0 or a negative errno (logged, with the output of iptables).
 */
int net_lock_ipt_take(const char *name, const struct net_lock_ipt_marks *marks, const struct net_tuple *tuples,
                      size_t n, int held);

/* As net_lock_remove() and net_lock_exists(), for both families. Without iptables no lock exists. */
int net_lock_ipt_remove(const char *name);
int net_lock_ipt_exists(const char *name);

#endif
