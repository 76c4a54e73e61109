/* SPDX-License-Identifier: GPL-2.0-only */
/* What a copy of its parent keeps, maps, writes and drops; which ranges become huge pages. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "arch_page.h"
#include "mm/page_plan.h"
#include "mm/thp.h"

#define A(page) (0x10000000UL + (page)*PAGE_SIZE)

struct world {
	struct arena *a;
	struct task parent, child;
	MmEntry pmm, cmm;
	struct pagemap ppages, cpages;
	struct task_mm p, c;
	struct page_plan plan;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->a = arena_new();
	mm_entry__init(&w->pmm);
	mm_entry__init(&w->cmm);
	w->parent.mm = &w->pmm;
	w->child.mm = &w->cmm;
	w->p.pages = &w->ppages;
	w->c.pages = &w->cpages;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	arena_free(w->a);
	free(w);
	return 0;
}

static VmaEntry *add_vma(struct world *w, MmEntry *mm, unsigned from, unsigned to, uint32_t status)
{
	VmaEntry *v = arena_msg(w->a, VmaEntry, vma_entry);

	v->start = A(from);
	v->end = A(to);
	v->prot = PROT_READ | PROT_WRITE;
	v->status = VMA_REGULAR | status;
	v->flags = status & (VMA_ANON_SHARED | VMA_FILE_SHARED) ? MAP_SHARED : MAP_PRIVATE;
	arena_push(w->a, &mm->vmas, &mm->n_vmas, v);
	return v;
}

static void add_pages(struct world *w, struct pagemap *p, unsigned from, unsigned n, bool cow)
{
	struct page_run run = { .at = A(from), .n = n, .stored = p->n_pages * PAGE_SIZE, .cow = cow };

	arena_push(w->a, &p->runs, &p->n_runs, run);
	p->n_pages += n;
}

static void plan(struct world *w, bool knows_cow)
{
	page_plan_copy(w->a, &w->child, &w->c, &w->parent, &w->p, knows_cow, &w->plan);
}

static void assert_segment(const struct world *w, size_t i, unsigned from, unsigned to, enum segment_kind kind)
{
	assert_true(i < w->c.n_segs);
	assert_int_equal(w->c.segs[i].start, A(from));
	assert_int_equal(w->c.segs[i].end, A(to));
	assert_int_equal(w->c.segs[i].kind, kind);
}

static void assert_run(const struct world *w, size_t i, unsigned from, uint64_t n, uint64_t page, bool compare)
{
	assert_true(i < w->plan.n_runs);
	assert_int_equal(w->plan.runs[i].at, A(from));
	assert_int_equal(w->plan.runs[i].n, n);
	assert_int_equal(w->plan.runs[i].stored, page * PAGE_SIZE);
	assert_int_equal(w->plan.runs[i].compare, compare);
}

static void assert_drop(const struct world *w, size_t i, unsigned from, unsigned to)
{
	assert_true(i < w->plan.n_drops);
	assert_int_equal(w->plan.drops[i].start, A(from));
	assert_int_equal(w->plan.drops[i].end, A(to));
}

/* The child's mapping is wider than the parent's, whose second mapping ends beyond it. */
static void mappings_are_cut(void **state)
{
	struct world *w = *state;

	add_vma(w, &w->pmm, 10, 20, VMA_ANON_PRIVATE);
	add_vma(w, &w->pmm, 30, 50, VMA_ANON_PRIVATE);
	add_vma(w, &w->cmm, 5, 40, VMA_ANON_PRIVATE);
	add_vma(w, &w->cmm, 45, 60, VMA_ANON_PRIVATE);
	plan(w, true);
	assert_int_equal(w->c.n_segs, 6);
	assert_segment(w, 0, 5, 10, SEG_MAP);
	assert_segment(w, 1, 10, 20, SEG_KEEP);
	assert_segment(w, 2, 20, 30, SEG_MAP);
	assert_segment(w, 3, 30, 40, SEG_KEEP);
	assert_segment(w, 4, 45, 50, SEG_KEEP);
	assert_segment(w, 5, 50, 60, SEG_MAP);
}

static void shared_pages_stay(void **state)
{
	struct world *w = *state;

	add_vma(w, &w->pmm, 0, 100, VMA_ANON_PRIVATE);
	add_vma(w, &w->cmm, 0, 100, VMA_ANON_PRIVATE);
	add_pages(w, &w->ppages, 0, 50, false);
	add_pages(w, &w->cpages, 0, 10, true);
	add_pages(w, &w->cpages, 10, 5, false);
	add_pages(w, &w->cpages, 40, 15, true); /* 50 to 55: said to be shared, but the parent has none */
	plan(w, true);
	assert_int_equal(w->plan.shared, 20);
	assert_int_equal(w->plan.n_runs, 2);
	assert_run(w, 0, 10, 5, 10, false);
	assert_run(w, 1, 50, 5, 25, false);
	assert_int_equal(w->plan.n_drops, 1);
	assert_drop(w, 0, 15, 40);
	assert_true(w->c.segs[0].fill);
}

/* Images of CRIU's: what both have is compared, what one has is written or dropped. */
static void without_the_field_pages_are_compared(void **state)
{
	struct world *w = *state;

	add_vma(w, &w->pmm, 0, 100, VMA_ANON_PRIVATE);
	add_vma(w, &w->cmm, 0, 100, VMA_ANON_PRIVATE);
	add_pages(w, &w->ppages, 10, 10, false);
	add_pages(w, &w->cpages, 5, 10, false);
	plan(w, false);
	assert_int_equal(w->plan.n_runs, 2);
	assert_run(w, 0, 5, 5, 0, false);
	assert_run(w, 1, 10, 5, 5, true);
	assert_int_equal(w->plan.n_drops, 1);
	assert_drop(w, 0, 15, 20);
}

/* The kernel wipes it at fork: the parent's pages never were the child's. */
static void fresh_mappings_are_written_in_full(void **state)
{
	struct world *w = *state;
	VmaEntry *v = add_vma(w, &w->pmm, 0, 10, VMA_ANON_PRIVATE);

	v->has_madv = true;
	v->madv = 1UL << MADV_WIPEONFORK;
	add_vma(w, &w->cmm, 0, 10, VMA_ANON_PRIVATE);
	add_pages(w, &w->ppages, 0, 10, false);
	add_pages(w, &w->cpages, 2, 2, true);
	plan(w, true);
	assert_segment(w, 0, 0, 10, SEG_MAP);
	assert_int_equal(w->plan.n_drops, 0);
	assert_int_equal(w->plan.n_runs, 1);
	assert_run(w, 0, 2, 2, 0, false);
}

static void what_fits(void **state)
{
	struct world *w = *state;
	VmaEntry *p = add_vma(w, &w->pmm, 0, 10, VMA_FILE_PRIVATE), *c = add_vma(w, &w->cmm, 4, 10, VMA_FILE_PRIVATE);

	p->shmid = c->shmid = 7;
	c->pgoff = 4 * PAGE_SIZE;
	assert_true(page_plan_fits(c, p));
	c->pgoff = 5 * PAGE_SIZE;
	assert_false(page_plan_fits(c, p));
	c->pgoff = 4 * PAGE_SIZE;
	c->shmid = 8;
	assert_false(page_plan_fits(c, p));
	c->shmid = 7;
	p->has_madv = true;
	p->madv = 1UL << MADV_DONTFORK;
	assert_false(page_plan_fits(c, p));
	p->madv = 0;
	c->flags |= MAP_GROWSDOWN;
	assert_false(page_plan_fits(c, p));
}

/* ---- huge pages ---- */

#define H(n)    (0x40000000UL + (n)*HUGE_SIZE)
#define IN_HUGE (HUGE_SIZE / PAGE_SIZE)

static void add_huge(struct world *w, raddr_t at, uint64_t n, bool thp)
{
	struct page_run run = { .at = at, .n = n, .thp = thp };

	arena_push(w->a, &w->plan.runs, &w->plan.n_runs, run);
}

static void huge_where_the_dump_saw_them(void **state)
{
	struct world *w = *state;
	VmaEntry *v = add_vma(w, &w->cmm, 0, 1, VMA_ANON_PRIVATE);
	struct segment seg = {
		.start = H(0) + PAGE_SIZE, .end = H(5) + PAGE_SIZE, .vma = v, .kind = SEG_MAP, .fill = true
	};
	struct thp_plan huge = { 0 };

	w->c.segs = &seg;
	w->c.n_segs = 1;
	add_huge(w, H(0) + PAGE_SIZE, 3, true); /* its range begins before the mapping */
	add_huge(w, H(1) + 5 * PAGE_SIZE, 1, true);
	add_huge(w, H(2), IN_HUGE, false); /* full, but small pages */
	add_huge(w, H(3), 2, false);
	add_huge(w, H(3) + 2 * PAGE_SIZE, IN_HUGE, true); /* reaches into the next */
	thp_choose(w->a, &w->c, &w->plan, &huge);
	assert_int_equal(huge.n_advised, 0);
	assert_int_equal(huge.n_others, 2);
	assert_int_equal(huge.others[0].start, H(1));
	assert_int_equal(huge.others[0].end, H(2));
	assert_int_equal(huge.others[1].start, H(3));
	assert_int_equal(huge.others[1].end, H(5));
}

static void full_ranges_where_advised(void **state)
{
	struct world *w = *state;
	VmaEntry *v = add_vma(w, &w->cmm, 0, 1, VMA_ANON_PRIVATE);
	struct segment seg = { .start = H(0), .end = H(4), .vma = v, .kind = SEG_MAP, .fill = true };
	struct thp_plan huge = { 0 };

	v->has_madv = true;
	v->madv = 1UL << MADV_HUGEPAGE;
	w->c.segs = &seg;
	w->c.n_segs = 1;
	add_huge(w, H(0), IN_HUGE / 2, false);
	add_huge(w, H(0) + HUGE_SIZE / 2, IN_HUGE / 2, false);
	add_huge(w, H(1), IN_HUGE - 1, false);
	thp_choose(w->a, &w->c, &w->plan, &huge);
	assert_int_equal(huge.n_others, 0);
	assert_int_equal(huge.n_advised, 1);
	assert_int_equal(huge.advised[0].start, H(0));
	assert_int_equal(huge.advised[0].end, H(1));
	huge = (struct thp_plan) { 0 };
	v->madv |= 1UL << MADV_NOHUGEPAGE;
	thp_choose(w->a, &w->c, &w->plan, &huge);
	assert_int_equal(huge.n_advised, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(mappings_are_cut, setup, teardown),
		cmocka_unit_test_setup_teardown(shared_pages_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(without_the_field_pages_are_compared, setup, teardown),
		cmocka_unit_test_setup_teardown(fresh_mappings_are_written_in_full, setup, teardown),
		cmocka_unit_test_setup_teardown(what_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_where_the_dump_saw_them, setup, teardown),
		cmocka_unit_test_setup_teardown(full_ranges_where_advised, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
