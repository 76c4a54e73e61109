/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/vma_hole.h"

#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "mm/mm.h"

#define LOWEST (64UL << 10) /* vm.mmap_min_addr, as it is set nearly everywhere */

static void add_vmas(struct arena *a, const struct task *t, struct ranges *taken)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		struct range range = { t->mm->vmas[i]->start, t->mm->vmas[i]->end };

		arena_push(a, &taken->r, &taken->n, range);
	}
}

/* Whether a child's address space may come from its parent's by forking (restore/plan.c has the last word). */
static bool may_be_copy(const struct restore *r, const struct task *t, const struct task *child)
{
	if (!child->mm || !t->ids || !child->ids || t->compat != child->compat)
		return false;
	return child->ids->vm_id == t->ids->vm_id || child->ids->files_id == t->ids->files_id ||
	       child->ids->fs_id == t->ids->fs_id || mm_inherits(r, child);
}

static void add_family(const struct restore *r, const struct task *t, struct ranges *taken)
{
	if (tree_first_vm(&r->tree, t) == t || !taken->n)
		add_vmas(r->arena, t, taken);
	for (size_t i = 0; i < t->n_children; i++)
		if (may_be_copy(r, t, t->children[i]))
			add_family(r, t->children[i], taken);
}

/* One page stays free on either side, so that the kernel joins nothing. */
static raddr_t hole_between(struct ranges *taken, raddr_t end, uint64_t size)
{
	raddr_t at = LOWEST;

	qsort(taken->r, taken->n, sizeof(*taken->r), range_by_start);
	for (size_t i = 0; i < taken->n; i++) {
		const struct range *r = &taken->r[i];

		if (r->start >= at && r->start - at >= size + PAGE_SIZE)
			return at;
		at = MAX(at, r->end + PAGE_SIZE);
	}
	return at < end && end - at > size ? at : 0;
}

raddr_t mm_find_hole(const struct restore *r, const struct task *t, uint64_t size)
{
	struct ranges taken = { 0 };

	add_family(r, t, &taken);
	return hole_between(&taken, arch_task_size(t->compat), size);
}

raddr_t vma_hole_beside(const struct restore *r, const struct task *t, struct range keep, uint64_t size)
{
	struct ranges taken = { 0 };

	add_family(r, t, &taken);
	arena_push(r->arena, &taken.r, &taken.n, keep);
	return hole_between(&taken, arch_task_size(t->compat), size);
}
