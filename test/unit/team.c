/* SPDX-License-Identifier: GPL-2.0-only */
/* Jobs of a team: each once, results in order, never too far ahead, an end in the middle. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_once_and_in_order),
		cmocka_unit_test(by_the_caller_alone),
		cmocka_unit_test(ended_in_the_middle),
		cmocka_unit_test(nothing_to_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
