/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "format.h"
#include "inventory.pb-c.h"
#include "lib/log.h"
#include "lib/version.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/run_mark.h"
#include "tree/tree_image.h"

int inventory_new_run(struct dump *d)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/uuid", O_RDONLY | O_CLOEXEC);
	char text[sizeof(d->run_id)] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	size_t len = strcspn(text, "\n");

	d->inventory = arena_msg(d->arena, InventoryEntry, inventory_entry);
	d->inventory->img_version = FORMAT_VERSION_1_1;
	if (n <= 0 || !len)
		return log_errno(-EIO, "open or read of /proc/sys/kernel/random/uuid");
	text[len] = 0;
	memcpy(d->run_id, text, sizeof(text));
	return 0;
}

bool inventory_has_crius_numbers(const InventoryEntry *inventory)
{
	return !inventory->tool_version || inventory->crius_numbers;
}

void inventory_only_ours(struct dump *d)
{
	d->inventory->img_version = FORMAT_VERSION_OURS;
}

static uint32_t lock_number(enum network_lock method)
{
	switch (method) {
	case NETWORK_LOCK_IPTABLES:
		return LOCK_NUMBER_IPTABLES;
	case NETWORK_LOCK_SKIP:
		return LOCK_NUMBER_SKIP;
	default:
		return LOCK_NUMBER_NFTABLES;
	}
}

enum network_lock inventory_network_lock(const InventoryEntry *inventory)
{
	uint32_t number = inventory->network_lock_method;

	if (!inventory->has_network_lock_method)
		return NETWORK_LOCK_DEFAULT;
	if (!inventory_has_crius_numbers(inventory)) /* those of rpc.proto, as the option has them */
		return number <= NETWORK_LOCK_SKIP ? (enum network_lock)number : NETWORK_LOCK_DEFAULT;
	switch (number) {
	case LOCK_NUMBER_IPTABLES:
		return NETWORK_LOCK_IPTABLES;
	case LOCK_NUMBER_NFTABLES:
		return NETWORK_LOCK_NFTABLES;
	case LOCK_NUMBER_SKIP:
		return NETWORK_LOCK_SKIP;
	default:
		return NETWORK_LOCK_DEFAULT;
	}
}

int inventory_write(struct dump *d)
{
	InventoryEntry *inv = d->inventory;
	TaskKobjIdsEntry *root = arena_new_of(d->arena, TaskKobjIdsEntry);

	/* criu's own objects are number 1 of each kind. */
	*root = *d->tree.tasks[0]->ids;
	ns_ids_of_criu(root);
	root->vm_id = root->files_id = root->fs_id = root->sighand_id = 1;
	if (tree_has_dead_leader(&d->tree))
		inventory_only_ours(d);
	inv->has_fdinfo_per_id = inv->fdinfo_per_id = true;
	inv->root_ids = root;
	inv->has_ns_per_id = inv->ns_per_id = true;
	inv->has_lsmtype = true; /* criu/task/lsm.c knows which */
	inv->has_dump_uptime = true;
	inv->dump_uptime = d->stats->started;
	if (!inv->plugins_entry)
		inv->plugins_entry = arena_msg(d->arena, PluginsEntry, plugins_entry);
	inv->has_network_lock_method = true;
	inv->network_lock_method = lock_number(d->opts->network_lock);
	inv->has_crius_numbers = inv->crius_numbers = true;
	inv->has_network_lock_mark = inv->network_lock_mark;
	inv->dump_criu_run_id = arena_strdup(d->arena, d->run_id);
	inv->tool_version = arena_strdup(d->arena, TOOL_VERSION);
	return image_write_one(d->dir, IMG_INVENTORY, 0, inv);
}

int inventory_write_pre(struct dump *d)
{
	InventoryEntry *inv = d->inventory;

	inv->has_fdinfo_per_id = inv->fdinfo_per_id = true;
	inv->has_ns_per_id = inv->ns_per_id = true;
	inv->has_dump_uptime = true;
	inv->dump_uptime = d->stats->started;
	inv->has_pre_dump_mode = true;
	inv->pre_dump_mode = d->reads_running ? PRE_DUMP_READ : PRE_DUMP_SPLICE;
	inv->has_crius_numbers = inv->crius_numbers = true;
	inv->dump_criu_run_id = arena_strdup(d->arena, d->run_id);
	inv->tool_version = arena_strdup(d->arena, TOOL_VERSION);
	return image_write_one(d->dir, IMG_INVENTORY, 0, inv);
}

int inventory_prev(struct image_dir *dir, struct arena *a, struct image_dir **prevp)
{
	uint64_t wanted, has;
	int err = image_dir_prev(dir, prevp);

	if (err == -ENOENT)
		return log_errno(err,
		                 "%s: pages of this checkpoint are in the one before it, and there is no link to "
		                 "that (" IMAGE_PREV "): keep the directories of a chain together",
		                 image_dir_path(dir));
	err = err ?: run_mark_read_prev(dir, a, &wanted) ?: run_mark_read(*prevp, a, &has);
	if (err || !wanted || has == wanted)
		return err;
	return log_errno(-ESTALE,
	                 "%s was made on top of another checkpoint than the one that %s holds now: its "
	                 "pages are lost with that",
	                 image_dir_path(dir), image_dir_path(*prevp));
}
