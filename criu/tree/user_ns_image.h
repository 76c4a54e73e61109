/* SPDX-License-Identifier: GPL-2.0-only */
/* The images of user namespaces, and who owns the others (in the inventory). Read at restore by themselves. */
#ifndef CRIU_TREE_USER_NS_IMAGE_H
#define CRIU_TREE_USER_NS_IMAGE_H

#include "tree/user_ns.h"

/* Dump: when the root task is known: from now on images get the ids of its user namespace. */
void user_ns_begin_images(struct dump *d);

/* Dump: when all ids of the tree have their numbers, before the inventory. 0 or a negative errno (logged). */
int user_ns_write(struct dump *d);

/* Restore: of a namespace that is given, the ids without a place of the one that it takes the place of. */
int user_ns_read_unmapped(struct restore *r, struct user_ns *ns);

/* Restore: the user namespace that owns one of the tree's other namespaces. NULL: criu's. */
struct user_ns *user_ns_owner(struct restore *r, uint32_t ns_id);

#endif
