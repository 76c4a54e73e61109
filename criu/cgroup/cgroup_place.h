/* SPDX-License-Identifier: GPL-2.0-only */
/* A cgroup as a directory: where its hierarchy is mounted, whether it is there, making it, moving a task into it. */
#ifndef CRIU_CGROUP_CGROUP_PLACE_H
#define CRIU_CGROUP_CGROUP_PLACE_H

#include "lib/arena.h"
#include "undo/guardian.h"

/* A mount of a hierarchy. */
struct cgroup_mount {
	bool v2;
	const char *root;    /* the group that is seen at the path */
	const char *path;    /* where */
	const char *options; /* of the file system: the controllers are among them */
};

struct cgroup_mounts {
	struct cgroup_mount *mounts;
	size_t n;
	const char *yard; /* --cgroup-yard: only mounts below it count; NULL: all */
};

struct cgroup_place {
	const char *name, *path;     /* as in the images */
	const char *what;            /* for messages: "cgroup /a of memory" */
	const char *top, *directory; /* where it is mounted; the group, below or at it */
	bool missing;
	const char **frozen; /* it, and groups above it, that are frozen and have no processes */
	size_t n_frozen;
};

/* All mounts of cgroups that this mount namespace shows, or those below a yard. 0 or a negative errno (logged). */
int cgroup_place_mounts(struct arena *a, const char *yard, struct cgroup_mounts *m);

/* Whether one of a hierarchy ("cpu,cpuacct"; "": version 2) is among them. */
bool cgroup_place_is_mounted(const struct cgroup_mounts *m, const char *hierarchy);

/* Finds the directory of a group, of which p->name and p->path are set; whether a mount has it. */
bool cgroup_place_find(struct arena *a, const struct cgroup_mounts *m, struct cgroup_place *p);

/* What messages call a group. */
const char *cgroup_place_name(struct arena *a, const struct cgroup_place *p);

/*
 * Finds the directory of a group (p->name and p->path are set) and whether tasks can be moved into it; changes nothing.
 * make: it may be missing. What stands in the way is a refusal; its negative errno.
 */
int cgroup_place_check(struct arena *a, const struct cgroup_mounts *m, struct cgroup_place *p, bool make);

/* Thaws what is frozen, makes it, and what is missing above it; each has an entry in the undo log. 0 or a negative
 * errno (logged). */
int cgroup_place_make(struct arena *a, struct guardian *g, struct cgroup_place *p);

/* Makes it alone, where it is missing; made: it was. */
int cgroup_place_make_directory(struct arena *a, struct guardian *g, const struct cgroup_place *p, bool *made);

/* Moves a process, or a single thread (of version 1). who: for messages. 0 or a negative errno (logged). */
int cgroup_place_move(const struct cgroup_place *p, pid_t tid, bool thread, const char *who);

#endif
