/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: --snapshot. Of each task with a memory of its own the agent makes a copy on write
 * (agent/hidden_copy.h), and the tree runs on when all but its pages is written.
 */
#ifndef CRIU_MM_SNAPSHOT_H
#define CRIU_MM_SNAPSHOT_H

#include "tree/vma_kind.h"

/* Whether a copy has the pages of a mapping. Those of others are read while the tree stands. */
bool snapshot_has(const struct vma *v);

/*
 * The tree runs, and pages have been read from the copies, or that has failed (err, which is returned then): they go. A
 * negative errno (logged) if one of them was killed before.
 */
int snapshot_end(struct dump *d, int err);

/*
 * Whether there is room for `bytes` more of memory and `tasks` more processes in the machine, and in the cgroups of a
 * task and those above them. NULL: there is; else what there is no room in.
 */
const char *snapshot_lacks_room(struct arena *a, const struct task *t, uint64_t bytes, uint64_t tasks);

/* The user that was counted last. */
struct user_threads {
	uint64_t uid, n;
};

/* The same of RLIMIT_NPROC of a task's user. u: zero at the first task. */
const char *snapshot_lacks_processes(struct arena *a, const struct task *t, uint64_t tasks, struct user_threads *u);

#endif
