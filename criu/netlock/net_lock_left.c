/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "format.h"
#include "netlock/net_lock_criu.h"
#include "netlock/net_lock_ipt.h"
#include "netlock/net_lock_left.h"
#include "tree/inventory.h"

void net_lock_left_name(char name[64], const char *run_id)
{
	snprintf(name, 64, "CRIU-%.*s", NETWORK_LOCK_ID_LEN, run_id);
}

/* Before runs had ids, CRIU named it after the root task. */
static void lock_name(const InventoryEntry *inventory, vpid_t root, char name[64])
{
	const char *id = inventory->dump_criu_run_id;

	if (id && *id)
		net_lock_left_name(name, id);
	else
		snprintf(name, 64, "CRIU-%d", root.v);
}

/* A table that one of our older versions left has the whole id in its name. */
static int find_old_table(const InventoryEntry *inventory, char name[64])
{
	const char *id = inventory->dump_criu_run_id;
	char old[64];
	int found;

	if (!inventory->tool_version || inventory->crius_numbers || !id || strlen(id) >= 64 - sizeof("CRIU-"))
		return 0;
	snprintf(old, sizeof(old), "CRIU-%s", id);
	found = net_lock_exists(old);
	if (found > 0)
		memcpy(name, old, sizeof(old));
	return found;
}

int net_lock_left_find(const InventoryEntry *inventory, vpid_t root, struct net_lock_left *left)
{
	bool by_iptables = inventory_network_lock(inventory) == NETWORK_LOCK_IPTABLES;
	int found;

	*left = (struct net_lock_left) { .method = NETWORK_LOCK_SKIP };
	left->mark = inventory->has_network_lock_mark ? inventory->network_lock_mark
	             : inventory->tool_version        ? NETWORK_LOCK_MARK
	                                              : NETWORK_LOCK_CRIU_MARK;
	lock_name(inventory, root, left->name);
	found = by_iptables ? net_lock_ipt_exists(left->name) : net_lock_exists(left->name);
	if (!found && !by_iptables)
		found = find_old_table(inventory, left->name);
	if (found > 0)
		left->method = by_iptables ? NETWORK_LOCK_IPTABLES : NETWORK_LOCK_NFTABLES;
	return MIN(found, 0);
}

bool net_lock_left_promised(const InventoryEntry *inventory)
{
	return inventory->has_network_lock_mark;
}

int net_lock_left_find_criu(const InventoryEntry *inventory, const struct net_tuple *tuples, size_t n,
                            struct net_lock_left *left)
{
	int found;

	if (inventory_network_lock(inventory) != NETWORK_LOCK_IPTABLES)
		return 0;
	found = net_lock_criu_exists(tuples, n);
	if (found <= 0)
		return found;
	left->method = NETWORK_LOCK_IPTABLES;
	left->mark = NETWORK_LOCK_CRIU_MARK;
	left->criu_tuples = tuples;
	left->n_criu_tuples = n;
	return 0;
}

int net_lock_left_remove(const struct net_lock_left *left)
{
	if (left->criu_tuples)
		return net_lock_criu_remove(left->criu_tuples, left->n_criu_tuples);
	return left->method == NETWORK_LOCK_IPTABLES ? net_lock_ipt_remove(left->name) : net_lock_remove(left->name);
}
