/* SPDX-License-Identifier: GPL-2.0-only */
/* Jobs of the worker pool: each once, results and turns in order, never too far ahead, an end in the middle. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/workers.h"

#define JOBS  2000
#define AHEAD 5

struct work {
	atomic_uint runs[JOBS];
	atomic_size_t taken, furthest;
};

static void job(void *arg, size_t i)
{
	struct work *w = arg;
	size_t ahead = i - atomic_load(&w->taken), before = atomic_load(&w->furthest);

	while ((ssize_t)ahead > (ssize_t)before && !atomic_compare_exchange_weak(&w->furthest, &before, ahead))
		;
	for (size_t k = 0; k < i % 7; k++)
		sched_yield();
	atomic_fetch_add(&w->runs[i], 1);
}

static void each_once_and_in_order(void **state)
{
	static struct work w;
	struct workers *t = workers_start(JOBS, AHEAD, job, &w);

	for (size_t i = 0; i < JOBS; i++) {
		atomic_store(&w.taken, i);
		workers_wait(t, i);
		assert_int_equal(atomic_load(&w.runs[i]), 1);
	}
	assert_int_equal(workers_end(t), JOBS);
	for (size_t i = 0; i < JOBS; i++)
		assert_int_equal(atomic_load(&w.runs[i]), 1);
	assert_true(atomic_load(&w.furthest) <= AHEAD);
}

/* One processor: no threads, all in workers_wait(). */
static void by_the_caller_alone(void **state)
{
	static struct work w;
	cpu_set_t all, one;
	struct workers *t;
	int cpu = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	t = workers_start(JOBS, AHEAD, job, &w);
	for (size_t i = 0; i < 10; i++) {
		workers_wait(t, i);
		assert_int_equal(atomic_load(&w.runs[i]), 1);
		assert_int_equal(atomic_load(&w.runs[i + 1]), 0);
	}
	assert_int_equal(workers_end(t), 10);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void ended_in_the_middle(void **state)
{
	static struct work w;
	struct workers *t = workers_start(JOBS, AHEAD, job, &w);
	size_t begun;

	for (size_t i = 0; i < 100; i++)
		workers_wait(t, i);
	begun = workers_end(t);
	assert_in_range(begun, 100, 100 + AHEAD);
	for (size_t i = 0; i < JOBS; i++)
		assert_int_equal(atomic_load(&w.runs[i]), i < begun);
}

static void nothing_to_do(void **state)
{
	assert_int_equal(workers_end(NULL), 0);
	assert_int_equal(workers_end(workers_start(0, 1, job, NULL)), 0);
}

/* ---- workers_run() ---- */

struct row {
	size_t order[JOBS], n_turns; /* jobs as they had their turn */
	atomic_uint runs[JOBS];
	size_t fail_at, skip; /* the job that fails; every skip-th job takes no turn */
};

struct turn {
	struct row *row;
	size_t i;
};

static void take_turn(void *arg)
{
	struct turn *t = arg;

	t->row->order[t->row->n_turns++] = t->i;
}

static int step(struct workers *w, void *arg, size_t i, void *buffer)
{
	struct row *row = arg;
	struct turn turn = { row, i };
	unsigned char *bytes = buffer;
	int err;

	assert_int_equal((uintptr_t)buffer % 4096, 0);
	bytes[0] = bytes[8191] = (unsigned char)i;
	for (size_t k = 0; k < i % 7; k++)
		sched_yield();
	atomic_fetch_add(&row->runs[i], 1);
	if (i == row->fail_at)
		return -EIO;
	if (row->skip && i % row->skip == 0)
		return 0;
	err = workers_in_turn(w, i, take_turn, &turn);
	assert_int_equal(bytes[0], (unsigned char)i);
	assert_int_equal(bytes[8191], (unsigned char)i);
	return err;
}

static void turns_are_in_order(void **state)
{
	static struct row row;

	row.fail_at = SIZE_MAX;
	assert_int_equal(workers_run(JOBS, 4, 8192, step, &row), 0);
	assert_int_equal(row.n_turns, JOBS);
	for (size_t i = 0; i < JOBS; i++) {
		assert_int_equal(row.order[i], i);
		assert_int_equal(atomic_load(&row.runs[i]), 1);
	}
}

/* A job that takes no turn does not hold up those behind it. */
static void turns_may_be_left_out(void **state)
{
	static struct row row;

	row.fail_at = SIZE_MAX;
	row.skip = 3;
	assert_int_equal(workers_run(JOBS, 4, 8192, step, &row), 0);
	for (size_t i = 1; i < row.n_turns; i++)
		assert_true(row.order[i] > row.order[i - 1]);
	assert_int_equal(row.n_turns, JOBS - (JOBS + 2) / 3);
}

/* No job behind one that failed has a turn, few are begun, and its error is returned. */
static void an_error_ends_it(void **state)
{
	static struct row row;
	size_t begun = 0;

	row.fail_at = 100;
	assert_int_equal(workers_run(JOBS, 4, 8192, step, &row), -EIO);
	assert_true(row.n_turns <= 100);
	for (size_t i = 0; i < JOBS; i++)
		begun += atomic_load(&row.runs[i]);
	assert_in_range(begun, 101, 101 + 4);
	assert_int_equal(workers_run(0, 4, 8192, step, &row), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once_and_in_order), cmocka_unit_test(by_the_caller_alone),
		cmocka_unit_test(ended_in_the_middle),    cmocka_unit_test(nothing_to_do),
		cmocka_unit_test(turns_are_in_order),     cmocka_unit_test(turns_may_be_left_out),
		cmocka_unit_test(an_error_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
