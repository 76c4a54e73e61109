/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The cgroups of a task, one in each hierarchy: /proc/PID/cgroup, cgroups(7). As in the images a hierarchy is named by
 * its controllers ("cpu,cpuacct"), by its name ("name=systemd"), or, of version 2, by "".
 */
#ifndef CRIU_CGROUP_CGROUP_SET_H
#define CRIU_CGROUP_CGROUP_SET_H

#include "cgroup.pb-c.h"
#include "lib/arena.h"

/* Reads the text of such a file of a process (tid 0) or of one of its threads, to be freed. Negative errno. */
int cgroup_set_read(pid_t pid, pid_t tid, char **text);

/* Such a text, its hierarchies in the order of their names. 0, or -EBADMSG (not logged). */
int cgroup_set_parse(struct arena *a, const char *text, CgSetEntry *set);

/* The path in the hierarchy of that name; NULL where the set has no such hierarchy. */
const char *cgroup_set_path(const CgSetEntry *set, const char *name);

/* The root of the cgroup namespace, as the set has it; NULL: the set does not say. */
const char *cgroup_set_root(struct arena *a, const CgMemberEntry *m);

#endif
