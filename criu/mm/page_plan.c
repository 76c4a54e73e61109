/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/page_plan.h"

#include <string.h>
#include <sys/mman.h>

#include "mm/hugetlb.h"
#include "mm/mm.h"
#include "mm/vma_advice.h"

/* What of a mapping's flags cannot be changed later. */
#define LASTING_FLAGS (MAP_TYPE | MAP_GROWSDOWN | MAP_NORESERVE | HUGETLB_MAP_FLAGS)

/* ---- which tasks start as copies ---- */

/* Images without the field cow: forked and not executed since, as far as addresses tell. */
static bool looks_forked(const struct task *child, const struct task *parent)
{
	const MmEntry *c = child->mm, *p = parent->mm;

	return c->exe_file_id == p->exe_file_id && c->mm_start_code == p->mm_start_code &&
	       c->mm_end_code == p->mm_end_code && c->mm_start_stack == p->mm_start_stack &&
	       c->mm_start_brk == p->mm_start_brk;
}

bool mm_inherits(const struct restore *r, const struct task *child)
{
	const struct task *parent = child->parent;
	const struct task_mm *m = task_mm(r, child), *p = parent ? task_mm(r, parent) : NULL;

	if (!m || !p || m == p || child->compat != parent->compat)
		return false;
	if (!mm_restore_of(r)->knows_cow)
		return looks_forked(child, parent);
	for (size_t i = 0; i < m->pages->n_runs; i++)
		if (m->pages->runs[i].cow)
			return true;
	return false;
}

/* ---- segments ---- */

static void add_segment(struct arena *a, struct task_mm *m, const VmaEntry *v, raddr_t start, raddr_t end,
                        enum segment_kind kind)
{
	struct segment *last = m->n_segs ? &m->segs[m->n_segs - 1] : NULL;
	struct segment s = { .start = start, .end = end, .vma = v, .row = vma_kind_of(v), .kind = kind, .prot = -1 };

	if (last && last->vma == v && last->kind == kind)
		last->end = end;
	else
		arena_push(a, &m->segs, &m->n_segs, s);
}

/* The vdso's and vvar's place: the kernel's own, or memory in which a foreign one is put. */
static enum segment_kind vdso_segment(const struct task_mm *m, bool kept)
{
	if (!m->vdso_foreign)
		return SEG_VDSO;
	return kept ? SEG_KEEP : SEG_MAP;
}

/* What could be written once counts as committed for ever, also in a copy that never could be. */
static bool counts_as_committed(const VmaEntry *v)
{
	return vma_is_private(v) && (v->accounted || v->prot & PROT_WRITE);
}

bool page_plan_fits(const VmaEntry *c, const VmaEntry *p)
{
	uint32_t objects = VMA_FILE_PRIVATE | VMA_FILE_SHARED | VMA_ANON_SHARED | VMA_SECRETMEM | VMA_SOCKET;

	if ((c->status | p->status) & (VMA_AIORING | VMA_URING)) /* the parent's context is not the child's */
		return false;
	if (vma_is_kernels(c) || vma_is_kernels(p) || vma_advice(p, MADV_DONTFORK) || vma_advice(p, MADV_WIPEONFORK))
		return false;
	if (p->guarded && !c->guarded) /* nothing takes that away again */
		return false;
	if ((c->status & (objects | VMA_ANON_PRIVATE)) != (p->status & (objects | VMA_ANON_PRIVATE)) ||
	    (c->flags & LASTING_FLAGS) != (p->flags & LASTING_FLAGS) || (c->flags & MAP_TYPE) > MAP_PRIVATE ||
	    (counts_as_committed(p) && !counts_as_committed(c)))
		return false;
	return !(c->status & objects) || (c->shmid == p->shmid && c->start - c->pgoff == p->start - p->pgoff);
}

/*
 * A mapping of an object is one as long as it is of one opened file: pieces, some inherited and others mapped anew,
 * would stay apart. Nothing is shared with the parent's but the object. And a huge page is mapped by one call.
 */
static bool is_mapped_whole(const VmaEntry *v, const VmaEntry *p)
{
	if (!(v->status & (VMA_ANON_SHARED | VMA_FILE_SHARED | VMA_SECRETMEM | VMA_SOCKET)) &&
	    !(v->flags & MAP_HUGETLB))
		return false;
	return !p || p->start > v->start || p->end < v->end || !page_plan_fits(v, p);
}

/* Cuts one mapping of the child at the borders of the parent's. *k: the parent's first that may reach into it. */
static void cut_at_borders(struct arena *a, struct task_mm *m, const VmaEntry *v, const MmEntry *parent, size_t *k)
{
	raddr_t at = v->start;

	while (*k < parent->n_vmas && parent->vmas[*k]->end <= at)
		(*k)++;
	if (is_mapped_whole(v, *k < parent->n_vmas ? parent->vmas[*k] : NULL)) {
		add_segment(a, m, v, v->start, v->end, SEG_MAP);
		return;
	}
	while (at < v->end) {
		const VmaEntry *p;
		raddr_t end;

		while (*k < parent->n_vmas && parent->vmas[*k]->end <= at)
			(*k)++;
		p = *k < parent->n_vmas ? parent->vmas[*k] : NULL;
		if (!p || p->start >= v->end)
			end = v->end;
		else if (p->start > at)
			end = p->start;
		else
			end = MIN(p->end, v->end);
		add_segment(a, m, v, at, end, p && p->start <= at && page_plan_fits(v, p) ? SEG_KEEP : SEG_MAP);
		at = end;
	}
}

/* ---- pages ---- */

static void plan_run(struct arena *a, struct page_plan *plan, struct segment *seg, const struct page_run *run,
                     raddr_t from, raddr_t to, bool compare)
{
	struct page_run part = page_run_part(run, from, to);

	seg->fill = true;
	if (run->in_file) {
		arena_push(a, &plan->equal, &plan->n_equal, part);
		return;
	}
	part.compare = compare;
	arena_push(a, &plan->runs, &plan->n_runs, part);
}

static void plan_drop(struct arena *a, struct page_plan *plan, raddr_t from, raddr_t to)
{
	struct range *last = plan->n_drops ? &plan->drops[plan->n_drops - 1] : NULL;
	struct range range = { from, to };

	if (last && last->end == from)
		last->end = to;
	else
		arena_push(a, &plan->drops, &plan->n_drops, range);
}

/* Walks through the runs of one pagemap along ascending addresses. */
struct walk {
	const struct page_run *run, *end;
};

static struct walk walk_from(const struct pagemap *p)
{
	return (struct walk) { p->runs, p->runs + p->n_runs };
}

/* The run that holds `at`, or NULL; *next is brought down to where that changes. */
static const struct page_run *walk_to(struct walk *w, raddr_t at, raddr_t *next)
{
	while (w->run < w->end && page_run_end(w->run) <= at)
		w->run++;
	if (w->run == w->end)
		return NULL;
	if (w->run->at > at) {
		*next = MIN(*next, w->run->at);
		return NULL;
	}
	*next = MIN(*next, page_run_end(w->run));
	return w->run;
}

/* Both have written to a page, and have what the file has. Where images say what is shared, they are asked. */
static bool are_of_file(const struct page_run *run, const struct page_run *p, raddr_t from, raddr_t to)
{
	if (!run->in_file || !p->in_file)
		return false;
	return !memcmp(page_run_part(run, from, to).file_sums, page_run_part(p, from, to).file_sums,
	               (to - from) / PAGE_SIZE * FILE_SUM_BYTES);
}

static void plan_pages(struct arena *a, struct task_mm *m, const struct pagemap *inherited, bool knows_cow,
                       struct page_plan *plan)
{
	static const struct pagemap none;
	struct walk own = walk_from(m->pages), theirs = walk_from(inherited ?: &none);

	for (size_t i = 0; i < m->n_segs; i++) {
		struct segment *seg = &m->segs[i];
		raddr_t next;

		if (seg->row->kernels)
			continue;
		for (raddr_t at = seg->start; at < seg->end; at = next) {
			const struct page_run *run, *p;

			next = seg->end;
			run = walk_to(&own, at, &next);
			p = seg->kind == SEG_KEEP ? walk_to(&theirs, at, &next) : NULL;
			if (run && p && (knows_cow ? run->cow : are_of_file(run, p, at, next))) {
				plan->shared += (next - at) / PAGE_SIZE;
				continue;
			}
			if (run)
				plan_run(a, plan, seg, run, at, next, p && !knows_cow);
			if (p && (!run || run->in_file))
				plan_drop(a, plan, at, next);
		}
	}
}

void page_plan_fresh(struct arena *a, const struct task *t, struct task_mm *m, struct page_plan *plan)
{
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (vma_is_left_out(v))
			continue;
		add_segment(a, m, v, v->start, v->end, vma_is_kernels(v) ? vdso_segment(m, false) : SEG_MAP);
	}
	plan_pages(a, m, NULL, true, plan);
}

void page_plan_copy(struct arena *a, const struct task *t, struct task_mm *m, const struct task *parent,
                    const struct task_mm *p, bool knows_cow, struct page_plan *plan)
{
	bool kept = m->vdso_start && m->vdso_start == p->vdso_start && m->vdso_size == p->vdso_size &&
	            m->vdso_foreign == p->vdso_foreign;
	bool other_ipc = t->ids && parent->ids && t->ids->ipc_ns_id != parent->ids->ipc_ns_id;
	size_t k = 0;

	m->vdso_kept = kept;
	if (kept) {
		m->new_vdso = p->new_vdso;
		m->new_vdso_size = p->new_vdso_size;
	}
	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (vma_is_left_out(v))
			continue;
		if (vma_is_kernels(v))
			add_segment(a, m, v, v->start, v->end, vdso_segment(m, kept));
		else if (v->status & VMA_SYSVIPC && other_ipc) /* the same number is another segment */
			add_segment(a, m, v, v->start, v->end, SEG_MAP);
		else
			cut_at_borders(a, m, v, parent->mm, &k);
	}
	plan_pages(a, m, p->pages, knows_cow, plan);
}
