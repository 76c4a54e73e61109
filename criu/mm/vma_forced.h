/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: read-only mappings that have their protection before their pages. */
#ifndef CRIU_MM_VMA_FORCED_H
#define CRIU_MM_VMA_FORCED_H

#include "mm/page_plan.h"
#include "tree/task.h"

/*
 * Where many read-only mappings with pages lie among those that one call has mapped writable: to write to the pages
 * first, and to cut the mapping into thousands of pieces then, takes the kernel twice as long as the other way round.
 * Sets `forced` of such segments, and `force` of all runs there: they are written through /proc/PID/mem, which does not
 * ask for PROT_WRITE. Where the kernel does not allow that (proc_mem.force_override) nothing is set.
 */
void vma_forced_choose(const struct task *t, struct task_mm *m, struct page_plan *plan);

#endif
