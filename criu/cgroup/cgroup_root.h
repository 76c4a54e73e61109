/* SPDX-License-Identifier: GPL-2.0-only */
/* --cgroup-root: where groups are saved from, and where they come back. */
#ifndef CRIU_CGROUP_CGROUP_ROOT_H
#define CRIU_CGROUP_CGROUP_ROOT_H

#include "cgroup.pb-c.h"
#include "cgroup/cgroup_place.h"
#include "lib/arena.h"
#include "options/options.h"

/* Whether the options are valid: "[CTRL:]/PATH" each. 0 or -EINVAL (logged). */
int cgroup_root_check(const struct options *o);

/* Dump: warns of a root that has no task of the tree. */
void cgroup_root_warn(const struct options *o, const CgroupEntry *image);

/* The root that is given for a hierarchy ("cpu,cpuacct", "name=x", "": version 2), or for all; NULL: none is. */
const char *cgroup_root_of(const struct options *o, const char *hierarchy);

/* Whether a hierarchy is the one that a word names: by one of its controllers, or by all. */
bool cgroup_root_names(const char *hierarchy, const char *word, size_t len);

/* What of a path lies below another: "" of that one itself, NULL where it does not lie there. */
const char *cgroup_root_below(const char *path, const char *root);

/* The name of a hierarchy of an image. */
const char *cgroup_root_hierarchy(struct arena *a, const CgControllerEntry *c);

/*
 * Restore: sets and directories of the image become those below the roots. A root that names no controller is none for
 * a hierarchy of which no file system is mounted here: what runs on version 2 alone gives one root, whatever other
 * hierarchies there are.
 */
void cgroup_root_move(struct arena *a, const struct options *o, const struct cgroup_mounts *m, CgroupEntry *image);

#endif
