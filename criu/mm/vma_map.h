/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: the mappings of a task are removed and made, as planned (page_plan.h), through its agent. */
#ifndef CRIU_MM_VMA_MAP_H
#define CRIU_MM_VMA_MAP_H

#include "mm/page_plan.h"

/* Unmaps all but `keep` and what was inherited and stays. All return 0 or a negative errno (logged). */
int vma_unmap_rest(struct restore *r, struct task *t, const struct task_mm *m, struct range keep);

/*
 * The stack of a copy may have grown since the fork. A mapping below it would not join the inherited part, and
 * /proc/PID/maps would call only that one [stack]: so the stack grows here as it did then. Where that fails, the rest
 * is left to vma_map_all().
 */
int vma_grow_stacks(struct task *t, struct task_mm *m);

/* Makes every segment that is to be mapped. */
int vma_map_all(struct restore *r, struct task *t, struct task_mm *m);

#endif
