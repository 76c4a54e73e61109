/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vma_join.h"

#include <sys/mman.h>

/* One call of mmap(2) for more than the machine has is refused; many smaller ones are not. */
#define JOIN_MAX (64UL << 20)

extern const struct vma_kind vma_anon_kind;

/*
 * It is writable for a while anyway. One with pages is mapped with the same protection alone, so that it gets no huge
 * pages that it would not get alone; others have their own protection again before any is filled. A policy or a mark of
 * guard pages is set before that.
 */
static bool may_be_joined(const struct segment *s)
{
	const VmaEntry *v = s->vma;

	if (s->kind != SEG_MAP || s->row != &vma_anon_kind || v->guarded || v->mempolicy ||
	    (v->status & ~(uint32_t)VMA_REGULAR) != VMA_ANON_PRIVATE)
		return false;
	if ((v->flags & MAP_TYPE) != MAP_PRIVATE || v->flags & (MAP_GROWSDOWN | MAP_HUGETLB))
		return false;
	if (v->prot & ~(uint32_t)VMA_JOIN_PROT || (s->fill && !(v->prot & PROT_READ)))
		return false;
	return v->prot & PROT_WRITE || segment_starts_writable(s);
}

static bool may_follow(const struct segment *first, const struct segment *s)
{
	return s[-1].end == s->start && s->end - first->start <= JOIN_MAX && may_be_joined(s) &&
	       !((first->vma->flags ^ s->vma->flags) & MAP_NORESERVE);
}

void vma_join_choose(struct task_mm *m)
{
	if (m->guards.n)
		return;
	for (size_t i = 0, to; i < m->n_segs; i = to) {
		struct segment *s = &m->segs[i];

		to = i + 1;
		if (!may_be_joined(s))
			continue;
		while (to < m->n_segs && may_follow(s, &m->segs[to]))
			m->segs[to++].is_joined = true;
		s->joins = to - i - 1;
		s->is_joined = s->joins > 0;
	}
}
