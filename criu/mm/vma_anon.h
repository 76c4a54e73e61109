/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CRIU_MM_VMA_ANON_H
#define CRIU_MM_VMA_ANON_H

#include "tree/vma_kind.h"

/* The name that a task has given to memory without a file, private or shared. See struct vma_kind. */
void vma_anon_set_name(struct batch *b, const VmaEntry *v);

#endif
