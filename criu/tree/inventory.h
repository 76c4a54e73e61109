/* SPDX-License-Identifier: GPL-2.0-only */
/* inventory.img: what holds for the whole checkpoint. Read by tree_read(). */
#ifndef CRIU_TREE_INVENTORY_H
#define CRIU_TREE_INVENTORY_H

#include "tree/dump.h"

/* Writes inventory.img. */
int inventory_write(struct dump *d);

/* Gives the run its id (d->run_id). At the start of a dump. */
int inventory_new_run(struct dump *d);

#endif
