/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freezing a tree: every thread of every task is seized and in a ptrace stop, and nothing new appears. Letting it go.
 */
#ifndef CRIU_FREEZE_FREEZE_H
#define CRIU_FREEZE_FREEZE_H

#include "undo/guardian.h"
#include "options/options.h"
#include "tree/task.h"

/*
 * Seizes the tree below root (a pid in our namespace) and fills *tree: parents, children, threads with tid, vtid, pgid,
 * sid, state (a job-control stop, a zombie) and comm; vpids come from NSpid of /proc/PID/status (the innermost).
 * Goes round until no new task or thread appears, with options->timeout seconds at most. With --freeze-cgroup the
 * cgroup is frozen first (undo entry in the guardian), its tasks seized, and thawed again by then. On failure what was
 * seized is let go. Errors are logged with the pid that would not stop, and why (a vfork parent, traced by whom,
 * uninterruptible). The tree comes from the arena.
 */
int freeze_tree(const struct options *o, struct guardian *g, struct arena *a, pid_t root, struct tree *tree);

/* How the tree goes on. */
enum thaw { THAW_RUN, THAW_STOP, THAW_KILL };

/*
 * Detaches all threads: running as before (stopped ones stay stopped), everything stopped by SIGSTOP (--leave-stopped),
 * or killed (all tasks, children first collected so that none is left; waits until all are dead, zombies of parents
 * that do not reap aside).
 */
int thaw_tree(struct tree *tree, enum thaw how);

#endif
