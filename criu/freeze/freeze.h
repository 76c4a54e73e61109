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

/*
 * The same, with a function that is called once for each process before it is seized (where the cgroup is frozen, after
 * that), with arg. How long that takes does not count. It returns 0 or a negative errno (logged), which is returned.
 */
struct freeze_notice {
	int (*before_seize)(void *arg, pid_t pid);
	void *arg;
};

int freeze_tree_noticed(const struct options *o, struct guardian *g, struct arena *a, pid_t root, struct tree *tree,
                        const struct freeze_notice *notice);

/* What thawing cgroups in the middle needs: where they are noted, and for whom. */
struct unfreezer {
	struct tree *tree;         /* tree->frozen gets them */
	struct guardian *guardian; /* may be NULL */
	struct arena *arena;
	bool kills;  /* the tree is going to be killed */
	pid_t spare; /* a process that may run when its cgroup is thawed, though criu does not trace it; 0: none */
};

/*
 * Thaws what a thread's cgroups (freezers of version 1 and 2, the ones above too) hold frozen: all other threads in
 * them that criu does not trace are stopped by ptrace before. tid == pid: the process, with all threads where those
 * have cgroups of their own. 1: something was thawed; 0: nothing was frozen; a negative errno (logged, with the way
 * out). *seen (may be NULL): the cgroups that were looked at last, which are passed over.
 */
int freeze_thaw_cgroups(const struct unfreezer *u, pid_t pid, pid_t tid, const char **seen);

/* The same for a process, with a descriptor of its /proc/PID. */
int freeze_thaw_process(const struct unfreezer *u, pid_t pid, int proc_fd, const char **seen);

/*
 * Cgroups of version 2 that were frozen before are frozen again, though the tree is still criu's: no agent runs from
 * here on. (In one of version 1 no killed task would end.)
 */
void freeze_again(struct tree *tree);

/* The same, and what was stopped for it by ptrace is let go, the tree aside: freeze_thaw_cgroups() is taken back. */
void freeze_take_back(struct tree *tree);

/* Whether a cgroup (its directory) was frozen before criu thawed it. */
bool freeze_was_frozen(const struct tree *tree, int dir);

/* Whether some cgroup of the tree was, so that tasks do not run on when they are let go. */
bool freeze_any_was_frozen(const struct tree *tree);

/* How the tree goes on. */
enum thaw { THAW_RUN, THAW_STOP, THAW_KILL };

/*
 * Detaches all threads: running as before (stopped ones stay stopped), everything stopped by SIGSTOP (--leave-stopped),
 * or killed (all tasks, children first collected so that none is left; waits until all are dead, zombies of parents
 * that do not reap aside).
 */
int thaw_tree(struct tree *tree, enum thaw how);

#endif
