/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: mappings that were sealed by mseal(2), Linux 6.10: `sl` of VmFlags. */
#ifndef CRIU_MM_VMA_MSEAL_H
#define CRIU_MM_VMA_MSEAL_H

#include "tree/vma_kind.h"

/* Restore, before anything is started: whether the kernel can seal. 0 or a negative errno (logged). */
int vma_mseal_check(struct restore *r, const struct task *t);

/* Adds the calls that seal mappings: after all else that is done to them. */
void vma_mseal(struct batch *b, const MmEntry *mm);

#endif
