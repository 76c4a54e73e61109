/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tracker: a process that outlives criu, and keeps open what makes the kernel note which pages are written to: a
 * userfaultfd of each task (mm/track_arm.c). It ends when its tasks have ended, and when the next dump, which has read
 * what was noted, ends it. Whose it is says a memfd, its descriptor 0.
 */
#ifndef CRIU_MM_TRACKER_H
#define CRIU_MM_TRACKER_H

#include "common.h"
#include "lib/arena.h"

#define TRACKER_NAME   "criu-tracker"
#define TRACKER_RUN_ID 40

/* A task whose memory is tracked. */
struct tracked {
	pid_t pid;
	int32_t uffd;        /* the tracker's number of the userfaultfd that watches it; filled in by the tracker */
	uint64_t start_time; /* field 22 of /proc/PID/stat */
};

/* One that was found. */
struct tracker {
	pid_t pid;
	int pidfd;
	char run_id[TRACKER_RUN_ID]; /* of the dump from which on writes are noted */
	struct tracked *tasks;
	size_t n_tasks;
};

/*
 * All trackers of this user's that run in our pid namespace. What is odd is passed over. 0 or a negative errno
 * (logged).
 */
int tracker_find_all(struct arena *a, struct tracker **all, size_t *n);

/*
 * A descriptor of the userfaultfd that watches one of its tasks: as long as there is one, memory stays marked, also
 * when the tracker has ended. A negative errno, not logged.
 */
int tracker_take_uffd(const struct tracker *t, const struct tracked *task);

/* Ends it, and waits until it has: what it alone kept is tracked no longer. 0 or a negative errno (logged). */
int tracker_end(struct tracker *t);

/* Closes what tracker_find_all() has opened. */
void tracker_forget(struct tracker *all, size_t n);

/* ---- a new one ---- */

/*
 * Forks one, which ends with criu until tracker_let_go(): while criu has no threads of its own, and little memory.
 * Returns the socket to it, or a negative errno (logged).
 */
int tracker_start(void);

/* Hands it a task with the descriptors that are kept: a userfaultfd, a pidfd, /proc/PID/pagemap. */
#define TRACKER_FDS 3
int tracker_add(int sock, const int fds[TRACKER_FDS]);

/* Tells it whose it is, and that it lives on from now, as *pid. 0 or a negative errno (logged): it has ended. */
int tracker_let_go(int sock, const char *run_id, const struct tracked *tasks, size_t n, pid_t *pid);

#endif
