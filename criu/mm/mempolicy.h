/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: on which NUMA nodes memory is to be, of threads and of mappings. set_mempolicy(2), mbind(2). */
#ifndef CRIU_MM_MEMPOLICY_H
#define CRIU_MM_MEMPOLICY_H

#include "mm/task_mm.h"

/* Sets the policies of a task's mappings before they get pages; a copy loses those that it has from its parent. */
int mempolicy_map(struct restore *r, struct task *t, struct task_mm *m);

/* Whether images have sizes that this criu can handle. */
bool mempolicy_is_sane(const MempolicyEntry *e);

#endif
