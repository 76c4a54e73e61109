/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: neighbours in private memory without a file that differ in nothing but their protection are mapped by
 * one call at restore, as most programs made them (mmap, then mprotect of parts).
 */
#ifndef CRIU_MM_VMA_JOIN_H
#define CRIU_MM_VMA_JOIN_H

#include "mm/task_mm.h"

/* With this protection. */
#define VMA_JOIN_PROT (PROT_READ | PROT_WRITE)

/* Sets `joins` and `is_joined` of the segments; the plan of pages is made. */
void vma_join_choose(struct task_mm *m);

#endif
