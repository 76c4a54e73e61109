/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The network lock that a dump left, found by its inventory: what `criu restore` removes when it succeeds, and `criu
 * unlock`.
 */
#ifndef CRIU_NETLOCK_NET_LOCK_LEFT_H
#define CRIU_NETLOCK_NET_LOCK_LEFT_H

#include "netlock/net_lock.h"
#include "options/options.h"
#include "tree/task.h"
#include "inventory.pb-c.h"

struct net_lock_left {
	enum network_lock method; /* NETWORK_LOCK_SKIP: no lock was left */
	char name[64];
	uint32_t mark; /* packets with it are let through */
	/* Not NULL: these connections are locked by iptables as CRIU does (netlock/net_lock_criu.h), without a name.
	 */
	const struct net_tuple *criu_tuples;
	size_t n_criu_tuples;
};

/* The name of the lock that a dump with this run id leaves. */
void net_lock_left_name(char name[64], const char *run_id);

/* 0, with left->method NETWORK_LOCK_SKIP where no lock is left, or a negative errno (not logged): cannot be told. */
int net_lock_left_find(const InventoryEntry *inventory, vpid_t root, struct net_lock_left *left);

/*
 * The same where these connections are locked by iptables as CRIU does; after net_lock_left_find() has found nothing
 * (by iptables: chains of an older version of ours).
 */
int net_lock_left_find_criu(const InventoryEntry *inventory, const struct net_tuple *tuples, size_t n,
                            struct net_lock_left *left);

/* Whether the inventory says that the dump left one, so that its absence is worth a message. CRIU does not say. */
bool net_lock_left_promised(const InventoryEntry *inventory);

/* 0, -ENOENT where it has been removed since, or a negative errno (logged). */
int net_lock_left_remove(const struct net_lock_left *left);

#endif
