/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vma_advice.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/batch.h"

static const struct {
	uint32_t flag;   /* in smaps */
	unsigned advice; /* MADV_* */
	bool optional;   /* kernels may be built without it: then it means nothing to the task either */
} advices[] = {
	{ VMF_rr, MADV_RANDOM, false },   { VMF_sr, MADV_SEQUENTIAL, false }, { VMF_dc, MADV_DONTFORK, false },
	{ VMF_mg, MADV_MERGEABLE, true }, { VMF_hg, MADV_HUGEPAGE, true },    { VMF_nh, MADV_NOHUGEPAGE, true },
	{ VMF_dd, MADV_DONTDUMP, false }, { VMF_wf, MADV_WIPEONFORK, false },
};

uint64_t vma_advice_bits(uint32_t map_flags)
{
	uint64_t bits = 0;

	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (map_flags & advices[i].flag)
			bits |= UINT64_C(1) << advices[i].advice;
	return bits;
}

static bool has_advice(const VmaEntry *v, unsigned advice)
{
	return vma_advice(v, advice) && !vma_kind_of(v)->kernels;
}

/* Neighbours that get the same advice get it in one call. */
static void restore_advice(struct batch *b, const MmEntry *mm, unsigned advice, bool optional)
{
	for (size_t i = 0, to; i < mm->n_vmas; i = to) {
		const VmaEntry *v = mm->vmas[i];

		to = i + 1;
		if (!has_advice(v, advice))
			continue;
		while (to < mm->n_vmas && mm->vmas[to]->start == mm->vmas[to - 1]->end &&
		       has_advice(mm->vmas[to], advice))
			to++;
		batch_add(b, SYS_madvise, optional ? 0 : AGENT_OP_STOP,
		          (const uint64_t[6]) { v->start, mm->vmas[to - 1]->end - v->start, advice });
	}
}

void vma_advice_restore(struct batch *b, const MmEntry *mm)
{
	uint64_t all = 0;

	for (size_t i = 0; i < mm->n_vmas; i++)
		all |= mm->vmas[i]->has_madv ? mm->vmas[i]->madv : 0;
	batch_what(b, "advice on its mappings");
	for (size_t i = 0; i < ARRAY_SIZE(advices); i++)
		if (all >> advices[i].advice & 1)
			restore_advice(b, mm, advices[i].advice, advices[i].optional);
}
