/* SPDX-License-Identifier: GPL-2.0-only */
/* Which kernel objects tasks share: numbers in task_kobj_ids_entry, equal where an object is shared. */
#ifndef CRIU_TREE_KOBJ_IDS_H
#define CRIU_TREE_KOBJ_IDS_H

#include "tree/dump.h"

/*
 * Fills t->ids of all live tasks (memory, descriptors, fs, signal actions by kcmp; namespaces by their inodes) and
 * writes ids-<vpid>.img. criu's own objects are number 1 of each kind. A task in other namespaces than criu's
 * (of time: than the root task's) is refused by name. 0 or a negative errno (logged); refusals are only counted.
 */
int kobj_ids_dump(struct dump *d);

/* The first half of that alone: namespaces are not looked at, and nothing is written. */
int kobj_ids_compare(struct dump *d);

#endif
