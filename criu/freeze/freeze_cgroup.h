/* SPDX-License-Identifier: GPL-2.0-only */
/* The cgroup freezer, and those who are in a frozen cgroup beside the tree (strangers.c). */
#ifndef CRIU_FREEZE_FREEZE_CGROUP_H
#define CRIU_FREEZE_FREEZE_CGROUP_H

#include "freeze/freeze.h"

struct stranger;

/* A cgroup that has been frozen or thawed by us; kept in tree->frozen until thaw_tree(). */
struct frozen {
	bool v2, was_frozen;
	bool found;                /* it was frozen, and nobody had named it */
	int dir;                   /* of the cgroup; -1 when nothing is to be put back */
	const char *path;          /* of the file that is written */
	struct guardian *guardian; /* may be NULL */
	int undo, undo_stopped, forward;
	struct stranger *strangers;
	struct frozen *next;
};

/* Freezes the cgroup (v1's freezer or v2). Undo entry first. Refuses one that holds criu. Logs its errors. */
int freeze_cgroup_start(const char *path, struct guardian *g, struct arena *a, int64_t deadline,
                        struct frozen **frozenp);

/* Thaws it, to let tasks come to their stops; where it was frozen before us, freeze_cgroup_restore() is still to come.
 */
int freeze_cgroup_thaw(struct frozen *frozen, int64_t deadline);

/* Thaws a frozen cgroup, when the strangers in it have been seized; z: it was thawed before. */
int freeze_cgroup_take(const char *path, const struct unfreezer *u, struct frozen *z);
int freeze_cgroup_wait_thawed(const struct frozen *like, const char *path, int64_t deadline);

/*
 * Puts the state of before back, before the tasks are let go, so that none of them runs; freeze_cgroup_settle() sees to
 * it that they are in it when they have been. `dead`: the tree does not live in it any more. NULL is fine.
 */
void freeze_cgroup_restore(struct frozen *frozen, bool dead);
void freeze_cgroup_settle(struct frozen *frozen, bool dead);

/* ---- strangers.c ---- */

/* Seizes and interrupts all in the cgroup (its directory) that criu does not trace, the process `spare` aside. Logs. */
int strangers_seize(struct frozen *z, struct arena *a, const char *cgroup, pid_t spare);

/* Whether that thread was one, in this or the next; from here on it is the caller's, traced and interrupted. */
bool strangers_take(struct frozen *z, pid_t tid);

/* Waits until all stand; then lets them go. */
void strangers_wait(struct frozen *z);
void strangers_let_go(struct frozen *z);

#endif
