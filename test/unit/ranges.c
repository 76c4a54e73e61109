/* SPDX-License-Identifier: GPL-2.0-only */
/* Lists of address ranges, and huge pages counted in lists of runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "arch_page.h"
#include "lib/arena.h"
#include "lib/ranges.h"
#include "mm/hugetlb.h"

#define LIST(...)                                                                                                      \
	(struct ranges)                                                                                                \
	{                                                                                                              \
		(struct range[]) { __VA_ARGS__ }, sizeof((struct range[]) { __VA_ARGS__ }) / sizeof(struct range)      \
	}

static int setup(void **state)
{
	*state = arena_new();
	return *state ? 0 : 1;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static void expect(struct ranges got, struct ranges want)
{
	assert_int_equal(got.n, want.n);
	for (size_t i = 0; i < got.n; i++) {
		assert_int_equal(got.r[i].start, want.r[i].start);
		assert_int_equal(got.r[i].end, want.r[i].end);
	}
}

static void pushed_ranges_join(void **state)
{
	struct ranges list = { 0 };

	ranges_push(*state, &list, 1, 3);
	ranges_push(*state, &list, 3, 4);
	ranges_push(*state, &list, 6, 7);
	expect(list, LIST({ 1, 4 }, { 6, 7 }));
}

static void what_the_other_lacks(void **state)
{
	struct ranges none = { 0 }, some = LIST({ 10, 20 }, { 30, 40 }, { 50, 60 });

	expect(ranges_without(*state, &some, &none), some);
	assert_int_equal(ranges_without(*state, &some, &some).n, 0);
	assert_int_equal(ranges_without(*state, &none, &some).n, 0);
	expect(ranges_without(*state, &some, &LIST({ 0, 12 }, { 14, 16 }, { 18, 33 }, { 60, 70 })),
	       LIST({ 12, 14 }, { 16, 18 }, { 33, 40 }, { 50, 60 }));
	/* One that reaches over several, and one that begins in the first. */
	expect(ranges_without(*state, &some, &LIST({ 15, 55 })), LIST({ 10, 15 }, { 55, 60 }));
}

static void what_both_have(void **state)
{
	struct ranges none = { 0 }, some = LIST({ 10, 20 }, { 30, 40 }, { 50, 60 });

	expect(ranges_common(*state, &some, &some), some);
	assert_int_equal(ranges_common(*state, &some, &none).n, 0);
	assert_int_equal(ranges_common(*state, &some, &LIST({ 20, 30 }, { 40, 50 })).n, 0);
	expect(ranges_common(*state, &some, &LIST({ 5, 12 }, { 15, 35 }, { 59, 99 })),
	       LIST({ 10, 12 }, { 15, 20 }, { 30, 35 }, { 59, 60 }));
}

/* Every page of the machine: a word, and whether both lists have it. Random lists, against the plain way. */
static void random_lists(void **state)
{
	uint32_t seed = 1;

	for (int round = 0; round < 2000; round++) {
		uint8_t in[2][64] = { { 0 } }, got[64];
		struct ranges list[2] = { { 0 } }, out[2], either;

		for (int k = 0; k < 2; k++)
			for (raddr_t at = 0; at < 60;) {
				raddr_t start, end;

				seed = seed * 1103515245 + 12345;
				start = at + (seed >> 16) % 9;
				end = start + 1 + (seed >> 24) % 7;
				if (end > 63)
					break;
				ranges_push(*state, &list[k], start, end);
				memset(in[k] + start, 1, end - start);
				at = end + 1;
			}
		out[0] = ranges_without(*state, &list[0], &list[1]);
		out[1] = ranges_common(*state, &list[0], &list[1]);
		either = ranges_either(*state, &list[0], &list[1]);
		memset(got, 0, sizeof(got));
		for (size_t i = 0; i < either.n; i++) {
			memset(got + either.r[i].start, 1, either.r[i].end - either.r[i].start);
			assert_true(!i || either.r[i - 1].end < either.r[i].start);
		}
		for (int i = 0; i < 64; i++)
			assert_int_equal(got[i], in[0][i] || in[1][i]);
		for (int k = 0; k < 2; k++) {
			memset(got, 0, sizeof(got));
			for (size_t i = 0; i < out[k].n; i++)
				memset(got + out[k].r[i].start, 1, out[k].r[i].end - out[k].r[i].start);
			for (int i = 0; i < 64; i++)
				assert_int_equal(got[i], in[0][i] && in[1][i] == k);
		}
	}
}

static void huge_pages_of_runs(void **state)
{
	const uint64_t H = 512 * PAGE_SIZE;
	const struct page_run runs[] = {
		{ .at = H + PAGE_SIZE, .n = 1 },     /* one page of the second */
		{ .at = 2 * H - PAGE_SIZE, .n = 2 }, /* its last, and the first of the third */
		{ .at = 5 * H, .n = 1024 },          /* two whole ones */
		{ .at = 9 * H, .n = 1 },
	};

	assert_int_equal(hugetlb_count_runs(runs, 4, 0, 8 * H, H), 4);
	assert_int_equal(hugetlb_count_runs(runs, 4, 0, 10 * H, H), 5);
	assert_int_equal(hugetlb_count_runs(runs, 4, 6 * H, 8 * H, H), 1);
	assert_int_equal(hugetlb_count_runs(runs, 0, 0, 8 * H, H), 0);
	assert_int_equal(hugetlb_page_size(hugetlb_size_flag(2UL << 20)), 2UL << 20);
	assert_int_equal(hugetlb_page_size(hugetlb_size_flag(1UL << 30)), 1UL << 30);
	assert_int_equal(hugetlb_page_size(hugetlb_size_flag(PAGE_SIZE)), 0);
	assert_int_equal(hugetlb_page_size(63U << MAP_HUGE_SHIFT), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pushed_ranges_join, setup, teardown),
		cmocka_unit_test_setup_teardown(what_the_other_lacks, setup, teardown),
		cmocka_unit_test_setup_teardown(what_both_have, setup, teardown),
		cmocka_unit_test_setup_teardown(random_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_pages_of_runs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
