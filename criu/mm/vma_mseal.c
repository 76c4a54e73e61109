/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vma_mseal.h"

#include <sys/syscall.h>
#include <unistd.h>

#include "agent/batch.h"
#include "uapi/mseal.h"

int vma_mseal_check(struct restore *r, const struct task *t)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		if (!t->mm->vmas[i]->sealed)
			continue;
		/* Of nothing: only whether the call is there. */
		if (!syscall(SYS_mseal, 0, 0, 0) || errno != ENOSYS)
			return 0;
		return vma_refuse(t, t->mm->vmas[i], "is sealed (mseal), which takes Linux 6.10");
	}
	return 0;
}

/* Neighbours in one call. */
void vma_mseal(struct batch *b, const MmEntry *mm)
{
	batch_what(b, "sealing mappings (mseal)");
	for (size_t i = 0, to; i < mm->n_vmas; i = to) {
		to = i + 1;
		if (!mm->vmas[i]->sealed || vma_kind_of(mm->vmas[i])->kernels)
			continue;
		while (to < mm->n_vmas && mm->vmas[to]->start == mm->vmas[to - 1]->end && mm->vmas[to]->sealed &&
		       !vma_kind_of(mm->vmas[to])->kernels)
			to++;
		batch_call(b, SYS_mseal, mm->vmas[i]->start, mm->vmas[to - 1]->end - mm->vmas[i]->start, 0);
	}
}
