/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Labels of security modules, AppArmor profiles and SELinux contexts: as /proc/PID/attr shows them, as images have them
 * and as the kernel takes them. `sys` is where sysfs is, "/sys" but in tests.
 */
#ifndef CRIU_TASK_LSM_LABEL_H
#define CRIU_TASK_LSM_LABEL_H

#include "inventory.pb-c.h"
#include "lib/arena.h"

/* Which module labels processes here. */
Lsmtype lsm_label_host_type(const char *sys);

const char *lsm_label_type_name(Lsmtype type);

/* Of what attr/current shows: the label as images have it, in the arena; NULL: the task is not confined. */
const char *lsm_label_parse(struct arena *a, Lsmtype type, const char *text);

/* What is to be written to attr/current, for a task to get it. */
const char *lsm_label_to_write(struct arena *a, Lsmtype type, const char *label);

/* Whether the module knows such a label: 0 or a negative errno. 0 also where that cannot be found out. */
int lsm_label_is_known(const char *sys, Lsmtype type, const char *label);

/* TYPE:NAME of --lsm-profile. 0 or -EINVAL. */
int lsm_label_parse_option(const char *text, Lsmtype *type, const char **name);

#endif
