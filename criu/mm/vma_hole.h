/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: holes between mappings, which are room for agents and for a vdso in another place. */
#ifndef CRIU_MM_VMA_HOLE_H
#define CRIU_MM_VMA_HOLE_H

#include <stdlib.h>

#include "mm/page_plan.h"

/* A hole as mm_find_hole() finds it, outside of `keep` too. Children may inherit what is mapped there. */
raddr_t vma_hole_beside(const struct restore *r, const struct task *t, struct range keep, uint64_t size);

#endif
