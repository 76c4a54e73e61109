/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/vma_kind.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "lib/log.h"

const struct vma_kind *vma_kind_of(const VmaEntry *v)
{
	for (const struct vma_kind *const *k = vma_kinds; *k; k++)
		if (v->status & (*k)->status || v->flags & (*k)->flags)
			return *k;
	return NULL;
}

int vma_damaged(const struct task *t, const VmaEntry *v, const char *why)
{
	return log_errno(-EBADMSG, "%s: mm-%d.img: mapping %" PRIx64 "-%" PRIx64 " %s", task_name(t), t->vpid.v,
	                 v->start, v->end, why);
}

int vma_refuse(const struct task *t, const VmaEntry *v, const char *why)
{
	return log_refusal(-EOPNOTSUPP, "%s: mm-%d.img: mapping %" PRIx64 "-%" PRIx64 " %s", task_name(t), t->vpid.v,
	                   v->start, v->end, why);
}

int vma_check_type(const struct task *t, const VmaEntry *v)
{
	uint32_t shared = VMA_FILE_SHARED | VMA_ANON_SHARED;
	uint32_t type = v->status & (shared | VMA_FILE_PRIVATE | VMA_ANON_PRIVATE);

	if (!type || type & (type - 1))
		return vma_damaged(t, v, "is of no known kind");
	if (v->prot & ~(uint32_t)(PROT_READ | PROT_WRITE | PROT_EXEC))
		return vma_damaged(t, v, "has an unknown protection");
	if (!!(v->flags & MAP_SHARED) != !!(type & shared))
		return vma_damaged(t, v, "is both shared and private");
	return 0;
}
