/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what madvise(2) has said about a mapping, both directions. */
#ifndef CRIU_MM_VMA_ADVICE_H
#define CRIU_MM_VMA_ADVICE_H

#include "tree/vma_kind.h"

/* Dump: vma_entry.madv, a bit for each MADV_*, from flags of smaps. */
uint64_t vma_advice_bits(uint32_t map_flags);

/* Restore: adds the calls that give all mappings of an address space their advice. */
void vma_advice_restore(struct batch *b, const MmEntry *mm);

/* Whether an image says that a mapping has this advice (MADV_*). */
static inline bool vma_advice(const VmaEntry *v, unsigned advice)
{
	return v->has_madv && v->madv >> advice & 1;
}

#endif
