/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: the namespaces of the tree's own that ns/ns.c has made, for those who have to work in them. */
#ifndef CRIU_TREE_NS_MADE_H
#define CRIU_TREE_NS_MADE_H

#include "proc/ns_type.h"
#include "tree/restore.h"

/* fd stays the caller's, and is open as long as others may ask for it. */
void ns_made_note(struct restore *r, const struct ns_type *type, uint32_t id, int fd);

/* The descriptor of a namespace, by the number that images know it by. -ENOENT: it is not made (yet). */
int ns_made_fd(struct restore *r, uint64_t flag, uint32_t id);

#endif
