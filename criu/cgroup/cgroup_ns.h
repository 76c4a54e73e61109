/* SPDX-License-Identifier: GPL-2.0-only */
/* Cgroup namespaces: where their roots are, which a set says for each of its hierarchies (cgns_prefix). */
#ifndef CRIU_CGROUP_CGROUP_NS_H
#define CRIU_CGROUP_CGROUP_NS_H

#include "cgroup.pb-c.h"
#include "tree/restore.h"

/* Dump: the set of a task (or thread) in another cgroup namespace than criu's. 0 or a negative errno (logged). */
int cgroup_ns_set_roots(struct arena *a, pid_t tid, CgSetEntry *set);

/*
 * Restore, in cgroup_restore.c: moves the calling process into the roots of a namespace. 0 or a negative errno
 * (logged).
 */
int cgroup_ns_move_to_roots(struct restore *r, uint32_t id);

#endif
