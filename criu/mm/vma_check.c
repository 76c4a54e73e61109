/* SPDX-License-Identifier: GPL-2.0-only */
/* Address spaces of a checkpoint, read and checked before anything is started: they are foreign input. */
#include <inttypes.h>

#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "lib/log.h"
#include "mm/aio.h"
#include "mm/guard.h"
#include "mm/hugetlb.h"
#include "mm/mm.h"
#include "mm/mm_limits.h"
#include "mm/page_equal.h"
#include "mm/page_once.h"
#include "mm/task_mm.h"
#include "mm/vdso.h"
#include "mm/vma_mseal.h"

static int check_place(const struct task *t, const VmaEntry *v, uint64_t from)
{
	uint64_t end = arch_task_size(t->compat);

	if (v->start % PAGE_SIZE || v->end % PAGE_SIZE || v->pgoff % PAGE_SIZE || v->start >= v->end)
		return vma_damaged(t, v, "is invalid");
	if (v->start < from)
		return vma_damaged(t, v, "is out of order or overlaps the one before");
	if (v->end > end || v->pgoff > INT64_MAX - (v->end - v->start))
		return vma_damaged(t, v, "ends beyond the last possible address or offset");
	return 0;
}

static int check_vma(struct restore *r, const struct task *t, const VmaEntry *v)
{
	const struct vma_kind *kind = vma_kind_of(v);

	if (!kind)
		return vma_damaged(t, v, "is of no known kind");
	if (v->flags & MAP_HUGETLB) {
		int err = hugetlb_check(t, v);

		if (err)
			return err;
	}
	return kind->check ? kind->check(r, t, v) : 0;
}

/* Goes on after a refusal, since there may be more of them. */
static int check_vmas(struct restore *r, const struct task *t)
{
	uint64_t from = 0;
	int err = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];
		int part;

		if (v->status & VMA_VSYSCALL) /* above all that a task can map, and never mapped */
			continue;
		part = check_place(t, v, from) ?: check_vma(r, t, v);
		if (part == -EBADMSG)
			return part;
		from = v->end;
		err = err ?: part;
	}
	return err;
}

/* Whether the task's pagemap may have pages of it: its own, or a foreign vdso's. */
static bool may_have_pages(const VmaEntry *v, const struct page_run *run)
{
	if (run->in_file && !page_equal_is_possible(v))
		return false;
	if (run->with_parent && v->status & (VMA_AIORING | VMA_VDSO | VMA_VVAR))
		return false;
	return vma_is_kernels(v) ? !vma_is_left_out(v) : vma_is_private(v);
}

/* Splits what the pagemap has at the borders of mappings, so that every run lies in one; refuses what lies in none. */
static int place_runs(struct restore *r, const struct task *t, struct pagemap *p)
{
	struct page_run *runs = NULL;
	size_t n_runs = 0, k = 0;

	for (size_t i = 0; i < p->n_runs; i++) {
		struct page_run run = p->runs[i];

		while (run.n) {
			struct page_run part;
			const VmaEntry *v;
			raddr_t next;

			while (k < t->mm->n_vmas && t->mm->vmas[k]->end <= run.at)
				k++;
			v = k < t->mm->n_vmas ? t->mm->vmas[k] : NULL;
			if (!v || v->start > run.at || !may_have_pages(v, &run))
				return log_errno(-EBADMSG,
				                 "%s: pagemap-%d.img has pages at %" PRIx64
				                 ", where mm-%d.img has no mapping of its own",
				                 task_name(t), t->vpid.v, run.at, t->vpid.v);
			next = MIN(page_run_end(&run), v->end);
			part = page_run_part(&run, run.at, next);
			arena_push(r->arena, &runs, &n_runs, part);
			run = page_run_part(&run, next, page_run_end(&run));
		}
	}
	p->runs = runs;
	p->n_runs = n_runs;
	return 0;
}

static int check_address_space(struct restore *r, struct task *t)
{
	struct task_mm *m = arena_new_of(r->arena, struct task_mm);
	int err = mm_limits_check(r, t), part;

	m->compat = t->compat;
	if (err == -EBADMSG)
		return err;
	part = guard_take(r, t, m) ?: check_vmas(r, t);
	err = err ?: part;
	if (part == -EBADMSG)
		return part;
	part = pages_read_task(r, t, &m->pages);
	if (!part)
		part = guard_check(r, t, m) ?: vma_mseal_check(r, t);
	if (!part)
		part = place_runs(r, t, m->pages);
	if (!part)
		part = vdso_check(r, t, m);
	if (!part)
		part = aio_check(r, t, m);
	if (part)
		return err ?: part;
	m->lenders = m->pages->lenders;
	m->n_lenders = m->pages->n_lenders;
	mm_restore_of(r)->knows_cow |= m->pages->knows_cow;
	t->restore->mm = m;
	return err;
}

int mm_check(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];
		bool first = t->state != TASK_DEAD && tree_first_vm(&r->tree, t) == t;
		int part = first ? check_address_space(r, t) : 0;

		err = err ?: part;
	}
	err = err ?: page_once_resolve(r);
	return err ?: hugetlb_check_free(r);
}
