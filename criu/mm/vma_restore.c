/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The address space of a task at restore, step by step: mappings, pages, locks; then protections and all else that is
 * final.
 */
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/log.h"
#include "mm/aio.h"
#include "mm/guard.h"
#include "mm/lazy_memory.h"
#include "mm/mempolicy.h"
#include "mm/mm.h"
#include "mm/mm_limits.h"
#include "mm/page_equal.h"
#include "mm/pkeys.h"
#include "mm/thp.h"
#include "mm/vdso.h"
#include "mm/vma_advice.h"
#include "mm/vma_forced.h"
#include "mm/vma_hole.h"
#include "mm/vma_map.h"
#include "mm/vma_mseal.h"

/* For a copy: drop the parent's extra pages, and make segments that get pages writable. */
static int prepare_copy(struct restore *r, struct task *t, struct task_mm *m, const struct page_plan *plan)
{
	struct batch *b = agent_batch(t->restore->agent, "what it inherited from its parent");

	guard_remove_inherited(r, b, t, m);
	for (size_t i = 0; i < plan->n_drops; i++)
		batch_call(b, SYS_madvise, plan->drops[i].start, plan->drops[i].end - plan->drops[i].start,
		           MADV_DONTNEED);
	for (size_t i = 0; i < m->n_segs; i++) {
		struct segment *s = &m->segs[i];

		if (s->kind != SEG_KEEP || s->row->kernels || !segment_starts_writable(s))
			continue;
		s->prot = (int)s->vma->prot | PROT_READ | PROT_WRITE;
		batch_call(b, SYS_mprotect, s->start, s->end - s->start, (uint64_t)s->prot);
	}
	return batch_run(b);
}

static bool needs_protection(const struct segment *s)
{
	return s->kind != SEG_VDSO && s->prot != (int)s->vma->prot;
}

static bool needs_protection_early(const struct segment *s)
{
	return s->is_joined && (!s->fill || s->forced) && needs_protection(s);
}

/* Neighbours that get the same protection get it in one call. */
static void restore_protections(struct batch *b, struct task_mm *m, bool (*needed)(const struct segment *s))
{
	batch_what(b, "protections of its mappings");
	for (size_t i = 0, to; i < m->n_segs; i = to) {
		struct segment *s = &m->segs[i];

		to = i + 1;
		if (!needed(s))
			continue;
		while (to < m->n_segs && m->segs[to].start == m->segs[to - 1].end && needed(&m->segs[to]) &&
		       m->segs[to].vma->prot == s->vma->prot)
			to++;
		batch_call(b, SYS_mprotect, s->start, m->segs[to - 1].end - s->start, (uint64_t)s->vma->prot);
	}
	for (size_t i = 0; i < m->n_segs; i++)
		if (needed(&m->segs[i]))
			m->segs[i].prot = (int)m->segs[i].vma->prot;
}

static bool may_be_forgotten(const struct segment *s)
{
	bool soon_filled = s->fill && !s->lazy && !s->forced;

	return s->kind == SEG_MAP && !soon_filled && !s->row->kernels && segment_starts_writable(s);
}

/*
 * A mapping counts as committed only while it may have pages of its own (anon_vma): it gets one for a moment. What is
 * cut off from it has what it has.
 */
static int keep_accounted(struct task *t, struct task_mm *m)
{
	struct batch *b = agent_batch(t->restore->agent, "what counts as committed");

	for (size_t i = 0; i < m->n_segs; i += 1 + m->segs[i].joins) {
		const struct segment *first = &m->segs[i], *last = first + first->joins, *s = first;

		while (s < last && !may_be_forgotten(s))
			s++;
		if (!may_be_forgotten(s))
			continue;
		batch_ask(b, SYS_madvise, first->start, PAGE_SIZE, MADV_POPULATE_WRITE);
		batch_ask(b, SYS_madvise, first->start, last->end - first->start,
		          MADV_DONTNEED); /* it may be a huge page */
	}
	restore_protections(b, m, needs_protection_early);
	return batch_run(b);
}

/* Those runs of the plan whose pages the pages file of that pagemap has. Room: an array as long as the plan's. */
static int fill_from(struct restore *r, struct task *t, const struct pagemap *from, const struct page_plan *plan,
                     struct page_run *room)
{
	const struct pagemap *own = t->restore->mm->pages;
	size_t n = 0;

	for (size_t i = 0; i < plan->n_runs; i++)
		if ((plan->runs[i].in ?: own) == from)
			room[n++] = plan->runs[i];
	return n ? pages_fill_task(r, from, t->pid, room, n) : 0;
}

/* The task's own pages file, and those of others that have what was shared with them. */
static int fill_from_all(struct restore *r, struct task *t, struct task_mm *m, const struct page_plan *plan)
{
	struct page_run *room;
	int err;

	if (!m->n_lenders) {
		err = pages_fill_task(r, m->pages, t->pid, plan->runs, plan->n_runs);
	} else {
		room = arena_array(r->arena, struct page_run, plan->n_runs);
		err = fill_from(r, t, m->pages, plan, room);
		for (size_t i = 0; !err && i < m->n_lenders; i++)
			err = fill_from(r, t, m->lenders[i], plan, room);
	}
	if (err)
		return err;
	pages_done_with(m->pages);
	for (size_t i = 0; i < m->n_lenders; i++)
		pages_done_with(m->lenders[i]);
	return 0;
}

static int fill_pages_of(struct restore *r, struct task *t, struct task_mm *m, const struct page_plan *plan)
{
	struct thp_plan huge = { 0 };
	int err;

	thp_choose(r->arena, m, plan, &huge);
	err = thp_make(t, &huge);
	if (err)
		return err;
	r->stats->pages_skipped_cow += plan->shared;
	err = page_equal_fill(r, t, plan);
	return err ?: fill_from_all(r, t, m, plan);
}

static uint32_t lock_mode(const VmaEntry *v)
{
	if (v->has_locked)
		return v->locked;
	return v->flags & MAP_LOCKED ? VMA_LOCKED_ALL : 0;
}

/*
 * Before children are forked: fork drops the lock, and to lock memory that is shared with a child would copy it. A
 * mapping without PROT_READ cannot be made present, but is locked all the same.
 */
static int lock_mappings(struct restore *r, struct task *t, const struct task_mm *m)
{
	struct batch *b = agent_batch(t->restore->agent, "locking its mappings (mlock)");

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		/* The kernel locks a memfd_secret by itself, until a fork, and lets nothing else do it. */
		if (vma_is_kernels(v) || !lock_mode(v) || v->status & VMA_SECRETMEM)
			continue;
		guard_lock_around(r->arena, b, m, v, lock_mode(v) == VMA_LOCKED_ON_FAULT ? MLOCK_ONFAULT : 0);
	}
	return batch_run(b);
}

int mm_restore_map(struct restore *r, struct task *t, raddr_t keep, uint64_t keep_size)
{
	struct range kept = { keep, keep + keep_size };
	struct page_plan plan = { 0 };
	struct task_mm *m = t->restore->mm;
	uint64_t room = vdso_hole_size(r, m);
	raddr_t hole = 0;
	int err;

	if (t->restore->copied)
		page_plan_copy(r->arena, t, m, t->parent, task_mm(r, t->parent), mm_restore_of(r)->knows_cow, &plan);
	else
		page_plan_fresh(r->arena, t, m, &plan);
	err = lazy_memory_choose(r, t, m, &plan);
	if (err)
		return err;
	if (room && !m->vdso_kept) {
		hole = vma_hole_beside(r, t, kept, room);
		if (!hole)
			return log_errno(-ENOMEM, "%s: no hole of %" PRIu64 " bytes for a vdso", task_name(t), room);
	}
	err = pkeys_allocate(t) ?: vma_unmap_rest(r, t, m, kept);
	if (!err && !m->vdso_kept)
		err = vdso_map(r, t, m, hole);
	if (!err && t->restore->copied)
		err = vma_grow_stacks(t, m);
	if (!err)
		err = vma_map_all(r, t, m);
	if (!err)
		err = mempolicy_map(r, t, m);
	if (!err)
		err = aio_make(t, m);
	if (!err && t->restore->copied)
		err = prepare_copy(r, t, m, &plan);
	if (!err)
		err = guard_mark(r, t, m);
	vma_forced_choose(t, m, &plan);
	if (!err)
		err = keep_accounted(t, m);
	if (!err && m->vdso_foreign && !m->vdso_kept)
		err = vdso_fill(r, t, m);
	if (!err)
		err = fill_pages_of(r, t, m, &plan);
	if (!err)
		err = aio_number(t, m);
	if (!err)
		err = guard_install(r, t, m);
	return err ?: lock_mappings(r, t, m);
}

/* ---- when children that are copies have been forked ---- */

/* What each kind has to add, as names. */
static void seal_each(struct batch *b, const MmEntry *mm)
{
	batch_what(b, "sealing its mappings");
	for (size_t i = 0; i < mm->n_vmas; i++) {
		const struct vma_kind *kind = vma_kind_of(mm->vmas[i]);

		if (kind->seal)
			kind->seal(b, mm->vmas[i]);
	}
}

int mm_restore_seal(struct restore *r, struct task *t)
{
	struct batch *b = agent_batch(t->restore->agent, "");
	int err;

	restore_protections(b, t->restore->mm, needs_protection);
	pkeys_protect(b, t->mm);
	vma_advice_restore(b, t->mm);
	seal_each(b, t->mm);
	vma_mseal(b, t->mm);
	err = batch_run(b);
	return err ?: mm_limits_restore(r, t);
}
