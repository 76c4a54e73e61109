/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: what has to be done to make a task's memory, which is little for a task that started as a copy of its
 * parent. Nothing is touched here.
 */
#ifndef CRIU_MM_PAGE_PLAN_H
#define CRIU_MM_PAGE_PLAN_H

#include "mm/task_mm.h"

/* The part of a pagemap that goes into the task, and what of the parent's has to go. */
struct page_plan {
	struct page_run *runs; /* to be written, ascending; each lies in one segment */
	size_t n_runs;
	struct page_run *equal; /* the same of those that the file has which is mapped there: mm/page_equal.h */
	size_t n_equal;
	struct range *drops; /* the parent had pages there, the child has none, or those of the file */
	size_t n_drops;
	uint64_t shared; /* pages that stay the parent's */
};

/* A task that starts with an empty address space: every mapping is made, every page written. Fills m->segs. */
void page_plan_fresh(struct arena *a, const struct task *t, struct task_mm *m, struct page_plan *plan);

/*
 * A copy: p is the memory that it was copied from, with parent's mappings as the images have them. What fits is kept.
 * knows_cow: the images say which pages are shared; else those that both have are to be compared.
 */
void page_plan_copy(struct arena *a, const struct task *t, struct task_mm *m, const struct task *parent,
                    const struct task_mm *p, bool knows_cow, struct page_plan *plan);

/* Whether a mapping of the child can stay the one of its parent: of the same kind, in the same place of the same
 * object. */
bool page_plan_fits(const VmaEntry *child, const VmaEntry *parent);

#endif
