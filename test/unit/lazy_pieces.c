/* SPDX-License-Identifier: GPL-2.0-only */
/* What of an address space is still to be filled: cut, moved, found. Against a table with an entry for each page. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "lazy/lazy_pieces.h"

#define PAGES 64
#define AT(p) ((raddr_t)(p)*PAGE_SIZE)

/* The page of the images that is to come to each page; 0: none. */
struct table {
	uint64_t from[PAGES];
};

static void same(const struct lazy_pieces *p, const struct table *t)
{
	for (uint64_t i = 0; i < PAGES; i++) {
		const struct page_run *run = lazy_pieces_find(p, AT(i));

		assert_int_equal(run ? (run->stored + AT(i) - run->at) / PAGE_SIZE : 0, t->from[i]);
	}
	for (size_t i = 0; i < p->n; i++)
		assert_true(p->v[i].n && (!i || page_run_end(&p->v[i - 1]) <= p->v[i].at));
}

static void start(struct lazy_pieces *p, struct table *t)
{
	const struct page_run runs[] = {
		{ .at = AT(2), .n = 10, .stored = AT(100) },
		{ .at = AT(12), .n = 1, .stored = AT(200) },
		{ .at = AT(20), .n = 20, .stored = AT(300) },
	};

	memset(t, 0, sizeof(*t));
	for (size_t i = 0; i < ARRAY_SIZE(runs); i++)
		for (uint64_t k = 0; k < runs[i].n; k++)
			t->from[runs[i].at / PAGE_SIZE + k] = runs[i].stored / PAGE_SIZE + k;
	assert_int_equal(lazy_pieces_set(p, runs, ARRAY_SIZE(runs)), 0);
	same(p, t);
}

static void cut(struct lazy_pieces *p, struct table *t, uint64_t from, uint64_t to)
{
	assert_int_equal(lazy_pieces_cut(p, AT(from), AT(to)), 0);
	for (uint64_t i = from; i < to; i++)
		t->from[i] = 0;
	same(p, t);
}

/* What is in the new place already stays. */
static void move(struct lazy_pieces *p, struct table *t, uint64_t from, uint64_t to, uint64_t n)
{
	assert_int_equal(lazy_pieces_move(p, AT(from), AT(to), AT(n)), 0);
	for (uint64_t i = 0; i < n; i++) {
		t->from[to + i] = t->from[to + i] ?: t->from[from + i];
		t->from[from + i] = 0;
	}
	same(p, t);
}

static void pieces_are_cut(void **state)
{
	struct lazy_pieces p = { 0 };
	struct table t;

	start(&p, &t);
	cut(&p, &t, 0, 2);
	cut(&p, &t, 4, 6);
	cut(&p, &t, 11, 21);
	cut(&p, &t, 30, 31);
	cut(&p, &t, 39, 64);
	cut(&p, &t, 0, 64);
	assert_int_equal(p.n, 0);
	lazy_pieces_free(&p);
}

static void pieces_are_moved(void **state)
{
	struct lazy_pieces p = { 0 };
	struct table t;

	start(&p, &t);
	move(&p, &t, 5, 45, 10);
	move(&p, &t, 45, 50, 5);
	move(&p, &t, 20, 0, 5); /* over what is there */
	move(&p, &t, 56, 60, 4);
	lazy_pieces_free(&p);
}

static void anything(void **state)
{
	struct lazy_pieces p = { 0 };
	struct table t;

	srand(7);
	for (int round = 0; round < 300; round++) {
		start(&p, &t);
		for (int i = 0; i < 12; i++) {
			uint64_t n = 1 + (uint64_t)rand() % 20, from = (uint64_t)rand() % 12;
			uint64_t to = 32 + (uint64_t)rand() % 12;

			if (rand() % 2)
				cut(&p, &t, rand() % 2 ? from : to, to + n);
			else if (rand() % 2)
				move(&p, &t, from, to, n);
			else
				move(&p, &t, to, from, n);
		}
	}
	lazy_pieces_free(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_cut),
		cmocka_unit_test(pieces_are_moved),
		cmocka_unit_test(anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
