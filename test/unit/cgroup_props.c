/* SPDX-License-Identifier: GPL-2.0-only */
/* Which files are properties, in which order; texts of --cgroup-props; what a new group has anyway. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "cgroup/cgroup_props.h"

static size_t rank_of(const char *file, enum cgroup_when when)
{
	const struct cgroup_prop *row;
	size_t rank;

	row = cgroup_props_find(NULL, file, &rank);
	assert_non_null(row);
	assert_int_equal(row->when, when);
	return rank;
}

static void test_table(void **state)
{
	static const char *const none[] = { "memory.usage_in_bytes", "pids.current", "hugetlb.2MB.current",
		                            "cgroup.kill",           "memory.stat",  "dmem.current",
		                            "cgroup.controllers" };
	size_t rank;

	assert_true(rank_of("cpuset.cpus", CGROUP_EARLY) < rank_of("cpuset.cpu_exclusive", CGROUP_EARLY));
	assert_true(rank_of("memory.limit_in_bytes", CGROUP_LATE) <
	            rank_of("memory.memsw.limit_in_bytes", CGROUP_LATE));
	assert_true(rank_of("cgroup.type", CGROUP_EARLY) < rank_of("cgroup.subtree_control", CGROUP_EARLY));
	assert_true(rank_of("hugetlb.2MB.max", CGROUP_LATE) < rank_of("freezer.state", CGROUP_LAST));
	assert_true(rank_of("hugetlb.1GB.rsvd.limit_in_bytes", CGROUP_LATE) < rank_of("tasks", CGROUP_ACCESS));
	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_null(cgroup_props_find(NULL, none[i], &rank));
}

static void test_spec(void **state)
{
	struct arena *a = arena_new();
	struct cgroup_props p = { 0 };
	size_t rank;

	assert_int_equal(
	    cgroup_props_parse(a,
	                       "\"c1\":\n - \"strategy\": \"merge\"\n - \"properties\": [\"a\", \"b\"]\n"
	                       "\"pids\":\n - \"strategy\": \"replace\"\n - \"properties\": [\"pids.events\"]",
	                       "--cgroup-props", &p),
	    0);
	assert_non_null(cgroup_props_find(&p, "a", &rank));
	assert_non_null(cgroup_props_find(&p, "pids.events", &rank));
	assert_null(cgroup_props_find(&p, "pids.max", &rank));
	assert_non_null(cgroup_props_find(&p, "cpu.shares", &rank));
	assert_non_null(cgroup_props_find(&p, "cgroup.procs", &rank));
	assert_int_equal(cgroup_props_parse(a, "@/nonesuch", "--cgroup-props", &p), -ENOENT);
	assert_int_equal(cgroup_props_parse(a, "\"c1\":\n - \"properties\": [\"a\"", "--cgroup-props", &p), -EINVAL);
	arena_free(a);
}

static void test_new(void **state)
{
	assert_true(cgroup_props_is_new("pids.max", "max"));
	assert_false(cgroup_props_is_new("pids.max", "100"));
	assert_true(cgroup_props_is_new("cpu.max", "max 100000"));
	assert_false(cgroup_props_is_new("cpu.weight", "50"));
	assert_true(cgroup_props_is_new("io.max", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_spec),
		cmocka_unit_test(test_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
