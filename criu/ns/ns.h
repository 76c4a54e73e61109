/* SPDX-License-Identifier: GPL-2.0-only */
/* What the making of processes asks of the namespaces. */
#ifndef CRIU_NS_NS_H
#define CRIU_NS_NS_H

#include "proc/ns_type.h"
#include "tree/restore.h"

/*
 * Whether the root task's pid namespace belongs to a user namespace of the tree: its first process is born in that one,
 * and so in all of its namespaces.
 */
bool ns_root_is_born_inside(struct restore *r);

/*
 * Where the descriptors stand that ns_become_root() enters, ROOT_FDS_MAX of them at most. A process that was forked
 * before they were opened writes its own there. Returns how many they are.
 */
#define ROOT_FDS_MAX 8
size_t ns_root_fds(struct restore *r, int **places);

/* Into the namespace of a descriptor. 0 or a negative errno (logged). */
int ns_enter_by_agent(struct restore *r, struct task *t, const struct ns_type *type, int fd);

/* In a process of criu's, which becomes the root task or forks it: enters them. 0 or a negative errno (logged). */
int ns_become_root(struct restore *r);

#endif
