/* SPDX-License-Identifier: GPL-2.0-only */
/* Fibers take turns at their waits, and one sleeps only when all wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/fiber.h"

#define MANY 7

/* Event e happens when `after` others have. */
static struct {
	int happened, order[64], slept;
} world;

static void happen(int who)
{
	world.order[world.happened++] = who;
}

/* Number i waits for all of those above it, so that one alone would wait for ever. */
static int last_first(void *arg, size_t i)
{
	unsigned looks = 0;

	(void)arg;
	while (world.happened < (int)(MANY - 1 - i))
		if (!fiber_yield(&looks)) {
			world.slept++;
			return -1;
		}
	happen((int)i);
	return (int)i * 2;
}

static void each_goes_on_when_it_can(void **state)
{
	int errs[MANY];

	(void)state;
	world.happened = world.slept = 0;
	fiber_run(MANY, last_first, NULL, errs);
	assert_int_equal(world.happened, MANY);
	assert_int_equal(world.slept, 0);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(world.order[i], MANY - 1 - i);
		assert_int_equal(errs[i], i * 2);
	}
}

/* What happens only while somebody sleeps, as what other processes do. */
static int wait_for_world(void *arg, size_t i)
{
	int *until = arg;
	unsigned looks = 0;

	while (world.slept < *until)
		if (!fiber_yield(&looks))
			world.slept++;
	happen((int)i);
	return 0;
}

static void one_sleeps_when_all_wait(void **state)
{
	int errs[MANY], until = 3;

	(void)state;
	world.happened = world.slept = 0;
	fiber_run(MANY, wait_for_world, &until, errs);
	assert_int_equal(world.happened, MANY);
	assert_int_equal(world.slept, until);
}

static int run_inner(void *arg, size_t i)
{
	int errs[3], until = world.slept + 2;

	(void)arg;
	(void)i;
	fiber_run(3, wait_for_world, &until, errs);
	return errs[0] ?: errs[1] ?: errs[2];
}

static void one_inside_another_is_no_danger(void **state)
{
	int errs[2];

	(void)state;
	world.happened = world.slept = 0;
	fiber_run(2, run_inner, NULL, errs);
	assert_int_equal(world.happened, 6);
	assert_int_equal(errs[0] | errs[1], 0);
}

static int hold_and_wait(void *arg, size_t i)
{
	unsigned looks = 0;
	int before = world.happened;

	(void)arg;
	fiber_hold();
	if (fiber_yield(&looks))
		return -1;
	fiber_release();
	if (world.happened != before)
		return -2;
	happen((int)i);
	looks = 0;
	return fiber_yield(&looks) || i ? 0 : -3;
}

static void one_that_is_held_sleeps(void **state)
{
	int errs[2];

	(void)state;
	world.happened = 0;
	fiber_run(2, hold_and_wait, NULL, errs);
	assert_int_equal(errs[0], 0);
	assert_int_equal(errs[1], 0);
}

static void alone_it_sleeps_at_once(void **state)
{
	int err, until = 1;
	unsigned looks = 0;

	(void)state;
	assert_false(fiber_yield(&looks));
	world.happened = world.slept = 0;
	fiber_run(1, wait_for_world, &until, &err);
	assert_int_equal(world.slept, 1);
	assert_int_equal(world.happened, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_goes_on_when_it_can),        cmocka_unit_test(one_sleeps_when_all_wait),
		cmocka_unit_test(one_inside_another_is_no_danger), cmocka_unit_test(one_that_is_held_sleeps),
		cmocka_unit_test(alone_it_sleeps_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
