/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that forked tasks still share, stored once: the child's pagemap says of a run that the pages are the parent
 * process's at the same address. A reader that does not know the field must not take the checkpoint, so that it has a
 * version of ours.
 */
#include "mm/page_once.h"

#include <inttypes.h>
#include <sys/mman.h>

#include "lib/log.h"
#include "mm/page_equal.h"
#include "mm/track.h"
#include "tree/inventory.h"

/* What is worth a checkpoint that CRIU cannot read. */
#define WORTH_ONCE (64UL << 20)

/* ---- dump ---- */

struct task *page_once_source(struct dump *d, const struct task *t)
{
	struct task *p = t->parent;

	if (!p || p->state == TASK_DEAD || tree_first_vm(&d->tree, p) == t)
		return NULL;
	return tree_first_vm(&d->tree, p);
}

static uint64_t forked_bytes(const struct vma_list *list)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < list->n; i++)
		sum += list->v[i].forked;
	return sum;
}

static bool is_possible(const struct dump *d)
{
	if (d->opts->page_server || d->opts->lazy_pages) /* whose protocol cannot say that */
		return false;
	if (track_is_in_chain(d)) /* the other checkpoints of it have no such pages to lend */
		return false;
	return d->opts->cow_pages != COW_PAGES_COPY;
}

/* With what the tree shares, and what it has in files or may have there. */
static uint64_t sum_up(struct dump *d, uint64_t sum, bool may_have)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		if (t->state == TASK_DEAD || tree_first_vm(&d->tree, t) != t)
			continue;
		if (page_once_source(d, t))
			sum += forked_bytes(t->dump->vmas);
		if (may_have)
			sum += page_equal_most(t);
	}
	return sum;
}

bool page_once_is_wanted(struct dump *d)
{
	if (!is_possible(d) || d->opts->cow_pages == COW_PAGES_ONCE)
		return is_possible(d);
	return sum_up(d, page_equal_bytes(d), false) > WORTH_ONCE;
}

bool page_once_wants_equal(struct dump *d)
{
	if (!is_possible(d))
		return false;
	return d->opts->cow_pages == COW_PAGES_ONCE || sum_up(d, 0, true) > WORTH_ONCE;
}

static bool has_plain_pages(const struct vma *v)
{
	if (v->entry->status & (VMA_VDSO | VMA_VVAR | VMA_AIORING) || v->entry->flags & MAP_HUGETLB || v->watched)
		return false;
	return v->pages == VMA_PAGES_ANON || v->pages == VMA_PAGES_COPIES;
}

/* Of code, pages are left out that only have breakpoints in them: not where it may be written to. */
static bool is_code(const struct vma *v)
{
	return (v->entry->prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC;
}

bool page_once_may_be(const struct vma *v, const struct vma **pv, const struct vma *end, raddr_t at, raddr_t *endp)
{
	const struct vma *p;

	while (*pv < end && (*pv)->entry->end <= at)
		(*pv)++;
	p = *pv;
	if (p == end)
		return false;
	if (p->entry->start > at) {
		*endp = MIN(*endp, p->entry->start);
		return false;
	}
	*endp = MIN(*endp, p->entry->end);
	return has_plain_pages(v) && has_plain_pages(p) && p->pages == v->pages && !is_code(v) && !is_code(p);
}

/* ---- restore ---- */

/* Of all tasks: each may name all parts that its ancestors have, and an image few of them with long runs. */
#define PARTS_MAX ((size_t)1 << 26)

struct resolved {
	struct arena *a;
	size_t *parts;
	struct task_mm *mm;
	struct page_run *runs;
	size_t n;
};

/* At most as many as tasks that it descends from have memory; mostly one. */
static void note_lender(struct resolved *out, struct pagemap *map)
{
	struct task_mm *m = out->mm;

	for (size_t i = m->n_lenders; i-- > 0;)
		if (m->lenders[i] == map)
			return;
	map->users++;
	arena_push(out->a, &m->lenders, &m->n_lenders, map);
}

/* The parts of one run that the parent process has pages of. *k: its first run that may reach into it. */
static int resolve_run(struct resolved *out, const struct page_run *run, struct pagemap *theirs, size_t *k)
{
	raddr_t end = page_run_end(run);

	while (*k < theirs->n_runs && page_run_end(&theirs->runs[*k]) <= run->at)
		(*k)++;
	for (size_t i = *k; i < theirs->n_runs && theirs->runs[i].at < end; i++) {
		const struct page_run *p = &theirs->runs[i];
		struct page_run part = page_run_part(p, MAX(p->at, run->at), MIN(page_run_end(p), end));

		part.in = p->in ?: theirs;
		part.cow = true;
		part.thp = run->thp;
		note_lender(out, part.in);
		arena_push(out->a, &out->runs, &out->n, part);
		if (++*out->parts > PARTS_MAX)
			return -EFBIG;
	}
	return 0;
}

static int resolve_task(struct restore *r, const struct task *t, size_t *parts)
{
	struct pagemap *own = task_mm(r, t)->pages;
	const struct task_mm *p = t->parent ? task_mm(r, t->parent) : NULL;
	struct resolved out = { .a = r->arena, .parts = parts, .mm = task_mm(r, t) };
	size_t k = 0;
	int err = 0;

	if (!own->with_parent)
		return 0;
	if (!p || p->pages == own)
		return log_errno(-EBADMSG, "%s: %s has pages with those of its parent process, which has none",
		                 task_name(t), own->name);
	for (size_t i = 0; !err && i < own->n_runs; i++) {
		if (own->runs[i].with_parent)
			err = resolve_run(&out, &own->runs[i], p->pages, &k);
		else
			arena_push(out.a, &out.runs, &out.n, own->runs[i]);
	}
	own->runs = out.runs;
	own->n_runs = out.n;
	return err ? log_errno(err, "%s: the pages that tasks share copy on write are in more than %zu parts",
	                       own->name, PARTS_MAX)
	           : 0;
}

/* A parent process stands before its children in the list of tasks, so that its runs have their place already. */
int page_once_resolve(struct restore *r)
{
	size_t parts = 0;
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && tree_first_vm(&r->tree, t) == t)
			err = resolve_task(r, t, &parts);
	}
	return err;
}
