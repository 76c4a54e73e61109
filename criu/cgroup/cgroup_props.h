/* SPDX-License-Identifier: GPL-2.0-only */
/* Which files of a cgroup are its properties, and when a restore writes them. */
#ifndef CRIU_CGROUP_CGROUP_PROPS_H
#define CRIU_CGROUP_CGROUP_PROPS_H

#include "cgroup.pb-c.h"
#include "lib/arena.h"

/* When a restore writes a property. */
enum cgroup_when {
	CGROUP_EARLY,  /* before tasks are in the group, and before it has groups below it */
	CGROUP_LATE,   /* limits: when the tree stands, so that criu's own work is not in their way */
	CGROUP_LAST,   /* the freezer */
	CGROUP_ACCESS, /* no property: only the owner and the mode of the file */
};

struct cgroup_prop {
	const char *controller; /* "": of every group */
	const char *name;       /* a pattern of fnmatch(3) */
	enum cgroup_when when;
};

/* The table, and what --cgroup-props adds to it or takes away. */
struct cgroup_props {
	struct cgroup_prop *added;
	size_t n_added;
	const char **replaced; /* controllers whose rows do not count */
	size_t n_replaced;
};

/* A text as of --cgroup-props ("@FILE": of a file). from: the option, for messages. 0 or a negative errno (logged). */
int cgroup_props_parse(struct arena *a, const char *text, const char *from, struct cgroup_props *p);

/* The row of a file (p may be NULL), its place in the order of writing; NULL: it is no property. */
const struct cgroup_prop *cgroup_props_find(const struct cgroup_props *p, const char *file, size_t *rank);

/* Whether a new group has this value: nothing is lost where a kernel, or a group, has no such file. */
bool cgroup_props_is_new(const char *name, const char *value);

/* ---- cgroup_prop_write.c: nothing here logs, and all of it may run in the guardian ---- */

/*
 * Gives a property of the group in a directory a value, unless it has it. Lists (devices, limits of devices,
 * priorities of interfaces) are written line by line. 1: it was changed; 0: it had the value; a negative errno.
 */
int cgroup_prop_write(int dir, const char *name, const char *value);

/* What the file has, without the newline at its end, to be freed. Negative errno. */
int cgroup_prop_read(int dir, const char *name, char **value);

/* Owner and mode of a file in a directory, or of the directory itself (name "."). As cgroup_prop_write(). */
int cgroup_perms_write(int dir, const char *name, const CgroupPerms *perms);

#endif
