/* SPDX-License-Identifier: GPL-2.0-only */
/* The tree in the images: inventory, pstree, core-*, ids-*, both directions. */
#ifndef CRIU_TREE_TREE_IMAGE_H
#define CRIU_TREE_TREE_IMAGE_H

#include "tree/dump.h"
#include "tree/restore.h"

/* Writes pstree.img and core-<tid>.img of every thread, from what the rows have filled in. Logs its errors. */
int tree_write(struct dump *d);
int tree_write_core(struct dump *d, const struct thread *th); /* of one thread, again */

/*
 * Reads the inventory and the tree: r->inventory, r->tree with parents, children, threads, core, ids, mm, fs. Checks
 * all of it: the version, one root, no pid twice, no cycle, what must be there. Nothing is started by it. Logs its
 * errors.
 */
int tree_read(struct restore *r);

/* Dump: whether a task has lost its leader, whose end is in its image. */
bool tree_has_dead_leader(const struct tree *tree);

#endif
