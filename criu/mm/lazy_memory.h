/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: memory that a restore with --lazy-pages leaves missing, and the lazy-pages daemon brings: the pages of
 * large private mappings of a task that shares none of them. A dump with --lazy-pages leaves the same out.
 */
#ifndef CRIU_MM_LAZY_MEMORY_H
#define CRIU_MM_LAZY_MEMORY_H

#include "mm/page_plan.h"

/* ---- dump ---- */

/* Whether a task may leave memory out; then whether its mapping may, and a run in one block of TOUCHED_BLOCK. */
bool lazy_dump_task(struct dump *d, struct task *t);
bool lazy_dump_mapping(const struct vma *v);
bool lazy_dump_run(const struct dump *d, const struct task *t, const struct page_run *run);

/* ---- restore ---- */

/*
 * Takes out of the plan what comes later (seg->lazy, m->lazy), and makes the task's userfaultfd while it may: where it
 * may not, nothing is changed. 0 or a negative errno (logged).
 */
int lazy_memory_choose(struct restore *r, const struct task *t, struct task_mm *m, struct page_plan *plan);

#endif
