/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: transparent huge pages where the dump saw them. */
#ifndef CRIU_MM_THP_H
#define CRIU_MM_THP_H

#include "tree/restore.h"
#include "mm/page_plan.h"

struct thp_plan {
	struct range *advised, *others; /* ascending, of whole huge pages */
	size_t n_advised, n_others;
};

/*
 * Which ranges of new mappings are to be huge pages: those of which a page was in one (page_run.thp); in mappings with
 * MADV_HUGEPAGE also those that are full, for which the kernel would do it as well. Touches nothing.
 */
void thp_choose(struct arena *a, const struct task_mm *m, const struct page_plan *plan, struct thp_plan *huge);

/*
 * Makes them, before they are filled. Advised ranges get their advice now, and a huge page with the first write. In
 * others one page is touched and the range is collapsed (MADV_COLLAPSE), since advice cannot be taken back. What the
 * kernel cannot do is left in small pages. 0, or a negative errno (logged) where the task fails.
 */
int thp_make(struct task *t, const struct thp_plan *huge);

#endif
