/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: the directories of the tree's cgroups, with their properties and what is below them. */
#ifndef CRIU_CGROUP_CGROUP_DIRS_H
#define CRIU_CGROUP_CGROUP_DIRS_H

#include "cgroup.pb-c.h"
#include "cgroup/cgroup_props.h"
#include "tree/dump.h"

/*
 * Adds the controllers to an image that has its sets. own: criu's set, whose groups are not the tree's: they are named
 * alone. props: --cgroup-props. 0 or a negative errno (logged).
 */
int cgroup_dirs_add(struct dump *d, const CgSetEntry *own, const struct cgroup_props *props, CgroupEntry *image);

#endif
