/* SPDX-License-Identifier: GPL-2.0-only */
/* criu unlock: takes away the network lock that a dump left, for a checkpoint that will never be restored. */
#include <string.h>

#include "cmd/cmd.h"
#include "image/image.h"
#include "lib/log.h"
#include "netlock/net_lock_left.h"
#include "sock/tcp/tcp_entry.h"
#include "tree/inventory.h"
#include "inventory.pb-c.h"
#include "pstree.pb-c.h"

/* For the name that CRIU gave its table before runs had ids: it is not needed where there is one. */
static int read_root(struct image_dir *dir, struct arena *a, vpid_t *root)
{
	_cleanup_image_ struct image *img = NULL;
	PstreeEntry *e;
	int err = image_open(dir, IMG_PSTREE, 0, &img);

	if (!err)
		err = image_read(img, &pstree_entry__descriptor, a, &e);
	if (err > 0)
		*root = VPID(e->pid);
	return err > 0 ? 0 : err ?: -ENODATA;
}

/* Rules of iptables have no name: the connections tell. Where their image is damaged, those before the damage. */
static int find_rules(const InventoryEntry *inventory, struct image_dir *dir, struct arena *a,
                      struct net_lock_left *left)
{
	struct tcp_tuples all;
	int damaged = tcp_tuples_read(dir, a, &all);
	int err = all.n ? net_lock_left_find_criu(inventory, all.tuples, all.n, left) : 0;

	if (damaged && left->method != NETWORK_LOCK_SKIP)
		log_warn("rules of connections that files.img does not show any more may be left");
	return err ?: left->method == NETWORK_LOCK_SKIP ? damaged : 0;
}

static int unlock_checkpoint(const struct options *o, struct image_dir *dir, struct arena *a)
{
	struct net_lock_left left;
	InventoryEntry *inventory;
	vpid_t root = VPID(0);
	int err = image_read_one(dir, IMG_INVENTORY, 0, a, &inventory);

	if (err == -ENOENT)
		return log_errno(err, "%s: inventory.img is missing: there is no checkpoint in this directory (see -D)",
		                 o->images_dir);
	if (!err && !inventory->dump_criu_run_id)
		err = read_root(dir, a, &root);
	if (err)
		return err;
	err = net_lock_left_find(inventory, root, &left);
	if (err)
		return log_errno(err, "looking for the network lock (%s)", left.name);
	if (left.method == NETWORK_LOCK_SKIP && inventory_network_lock(inventory) == NETWORK_LOCK_IPTABLES)
		err = find_rules(inventory, dir, a, &left);
	if (err)
		return err;
	if (left.method != NETWORK_LOCK_SKIP)
		err = net_lock_left_remove(&left);
	if (err && err != -ENOENT)
		return err;
	if (err || left.method == NETWORK_LOCK_SKIP)
		log_msg("no network lock of this checkpoint is here (%s)", left.name);
	else
		log_msg("the network lock %s is removed", left.name);
	return 0;
}

/* A damaged checkpoint has to be unlocked too: nothing but the inventory is needed, by iptables also files.img. */
int cmd_unlock(const struct options *o, struct stages *stages)
{
	struct arena *a = arena_new();
	struct image_dir *dir = NULL;
	int err = a ? image_dir_open(o->images_dir, true, &dir) : -ENOMEM;

	if (!err)
		err = unlock_checkpoint(o, dir, a);
	image_dir_close(dir);
	arena_free(a);
	return err;
}
