/* SPDX-License-Identifier: GPL-2.0-only */
/* inventory.img: what holds for the whole checkpoint. Read by tree_read(). */
#ifndef CRIU_TREE_INVENTORY_H
#define CRIU_TREE_INVENTORY_H

#include "inventory.pb-c.h"
#include "options/options.h"
#include "tree/dump.h"

/* Writes inventory.img. */
int inventory_write(struct dump *d);

/* That of a pre-dump. */
int inventory_write_pre(struct dump *d);

/* Gives the run its id (d->run_id). At the start of a dump. */
int inventory_new_run(struct dump *d);

/* The checkpoint has what a reader that does not know it must not pass over: CRIU is to refuse it. */
void inventory_only_ours(struct dump *d);

/*
 * Whether numbers for which the format has no names are CRIU's: in its own images, and in ours that say so. Our older
 * ones have others in network_lock_method, file_lock_entry.flag and packet_sock_entry.protocol.
 */
bool inventory_has_crius_numbers(const InventoryEntry *inventory);

/*
 * Opens the checkpoint that this one was made on top of (image_dir_prev()), and makes sure that it is that one.
 * -ENOENT, too, is logged.
 */
int inventory_prev(struct image_dir *dir, struct arena *a, struct image_dir **prevp);

/* How the dump held packets off; NETWORK_LOCK_DEFAULT: the inventory does not say. */
enum network_lock inventory_network_lock(const InventoryEntry *inventory);

#endif
