/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: huge pages where the dump saw them. */
#ifndef CRIU_MM_THP_H
#define CRIU_MM_THP_H

#include "tree/restore.h"
#include "mm/page_plan.h"

struct huge_plan {
	struct range *advised, *others; /* ascending, of whole huge pages */
	size_t n_advised, n_others;
};

/*
 * Which ranges of what is mapped afresh are to be huge pages: those of which a page was in one (page_run.thp); in
 * mappings with MADV_HUGEPAGE also those that are full, for which the kernel would do it as well. Pure.
 */
void huge_choose(struct arena *a, const struct task_mm *m, const struct page_plan *plan, struct huge_plan *huge);

/*
 * Makes them, before they are filled. Advised ranges get the advice that they will have anyway, and a huge page with
 * the first write. In others one page is touched and the range collapsed (MADV_COLLAPSE), since no advice could be
 * taken back. What the kernel cannot do is left in small pages. 0, or a negative errno (logged) where the task fails.
 */
int huge_make(struct task *t, const struct huge_plan *huge);

#endif
