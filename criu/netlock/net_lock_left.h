/* SPDX-License-Identifier: GPL-2.0-only */
/* The network lock that a dump left, found by its inventory: what `criu restore` removes when it succeeds, and `criu
 * unlock`. */
#ifndef CRIU_NETLOCK_NET_LOCK_LEFT_H
#define CRIU_NETLOCK_NET_LOCK_LEFT_H

#include "netlock/net_lock.h"
#include "options/options.h"
#include "tree/task.h"
#include "inventory.pb-c.h"

struct net_lock_left {
	enum network_lock method; /* NETWORK_LOCK_SKIP: there is none */
	char name[64];
	uint32_t mark; /* that gets through */
	/* Not NULL: CRIU's by iptables (netlock/net_lock_criu.h), which has no name, of these connections. */
	const struct net_tuple *crius;
	size_t n_crius;
};

/* The name of what a run leaves. */
void net_lock_left_name(char name[64], const char *run_id);

/* 0, with left->method saying whether there is one, or a negative errno (not logged): it cannot be looked for. */
int net_lock_left_find(const InventoryEntry *inventory, vpid_t root, struct net_lock_left *left);

/* The same where CRIU has locked these connections by iptables; after net_lock_left_find() has found nothing. */
int net_lock_left_find_crius(const InventoryEntry *inventory, const struct net_tuple *tuples, size_t n,
                             struct net_lock_left *left);

/* Whether the dump said that it left one: a wrong answer of net_lock_left_find() is worth a word. CRIU does not say. */
bool net_lock_left_promised(const InventoryEntry *inventory);

/* 0, -ENOENT where it is gone meanwhile, or a negative errno (logged). */
int net_lock_left_remove(const struct net_lock_left *left);

#endif
