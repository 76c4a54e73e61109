/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: memory that a restore with --lazy-pages leaves missing, and the lazy-pages daemon brings: the pages of
 * large private mappings of a task that shares none of them.
 */
#ifndef CRIU_MM_LAZY_MEMORY_H
#define CRIU_MM_LAZY_MEMORY_H

#include "mm/page_plan.h"

/*
 * Takes out of the plan what comes later (seg->lazy, m->lazy), and makes the task's userfaultfd while it may: where it
 * may not, nothing is changed. 0 or a negative errno (logged).
 */
int lazy_memory_choose(struct restore *r, const struct task *t, struct task_mm *m, struct page_plan *plan);

#endif
