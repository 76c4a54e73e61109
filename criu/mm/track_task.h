/* SPDX-License-Identifier: GPL-2.0-only */
/* What mm/track.c and mm/track_arm.c share: the state of tracking in one dump. */
#ifndef CRIU_MM_TRACK_TASK_H
#define CRIU_MM_TRACK_TASK_H

#include "image/image.h"
#include "lib/arena_hash.h"
#include "lib/ranges.h"
#include "mm/tracker.h"
#include "proc/proc_maps.h"
#include "tree/subsys.h"

struct track_task {
	const struct task *task;
	struct ranges unwritten; /* since the dump before */
	int uffd;                /* that watches its memory, from the dump before or from this one on; negative */
	struct ranges ours;      /* where it did before this dump */
	UT_hash_handle hh;
};

struct track_state {
	bool begun, looked;          /* looked: trackers were looked for */
	bool is_tracked;             /* the tracker of the chain was there */
	struct image_dir *prev;      /* --prev-images-dir; NULL */
	struct pages_before *before; /* what it has; NULL: nothing that can be gone on with */
	const char *prev_run_id;     /* NULL: it does not say */
	struct tracker *found;       /* that ran when they were looked for */
	size_t n_found;
	int sock; /* to the new one; -1: there is to be none */
	struct track_task *tasks;
	struct tracked *armed;
	size_t n_armed;
};

extern const struct subsys track_subsys;

/* The entry of a task; a: it is made where there is none, NULL: NULL is returned then. */
struct track_task *track_task(struct track_state *s, struct arena *a, const struct task *t);

/* Whether m is in one->ours; *at begins as 0, and goes along with mappings in ascending order. */
bool track_is_ours(const struct track_task *one, size_t *at, const struct proc_map *m);

/* Whether what is written to a mapping can be noted without a miss. */
bool track_is_able(const struct proc_map *m);

/* Whether a descriptor is a userfaultfd. */
bool track_is_uffd(int fd);

/* Has uffd watch a mapping, if it does not already. -EBUSY: another one does. A negative errno, not logged. */
int track_register(int uffd, const struct proc_map *m);

#endif
