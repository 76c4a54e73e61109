/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: the directories of an image, made where they are missing, and their properties. */
#ifndef CRIU_CGROUP_CGROUP_GROUPS_H
#define CRIU_CGROUP_CGROUP_GROUPS_H

#include "cgroup.pb-c.h"
#include "cgroup/cgroup_place.h"
#include "tree/restore.h"

struct cgroup_group {
	struct cgroup_place place;
	const CgroupDirEntry *entry;
	bool made;   /* by this restore */
	bool thawed; /* it was frozen without any process, and is to be so again if the image says that it was */
};

/* Those of a whole image, the upper ones first. */
struct cgroup_groups {
	struct cgroup_group *v;
	size_t n;
};

/* Whether the directories of an image have names that a cgroup can have. 0 or -EINVAL (logged). */
int cgroup_groups_valid(struct arena *a, const CgroupEntry *image);

/* Whether an image has groups with properties. */
bool cgroup_groups_any(const CgroupEntry *image);

/* Finds them all, and refuses what the mode of --manage-cgroups does not take. 0 or the errno of a refusal. */
int cgroup_groups_check(struct restore *r, const CgroupEntry *image, const struct cgroup_mounts *m,
                        struct cgroup_groups *all);

/* Makes them, with what has to stand before tasks are in them. Undo entries first. 0 or a negative errno (logged). */
int cgroup_groups_make(struct restore *r, struct cgroup_groups *all);

/* The tree stands: all other properties, the freezer last. 0 or a negative errno (logged). */
int cgroup_groups_limit(struct restore *r, struct cgroup_groups *all);

#endif
