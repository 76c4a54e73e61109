/* SPDX-License-Identifier: GPL-2.0-only */
/* What /proc/PID/cgroup says: the order of the images, names with commas, paths with colons, groups that are gone. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cgroup/cgroup_set.h"

static void test_all_kinds(void **state)
{
	static const char text[] = "9:name=systemd:/user.slice\n4:memory:/a:b/c\n2:cpu,cpuacct:/x (deleted)\n0::/v2\n";
	struct arena *a = arena_new();
	CgSetEntry set = CG_SET_ENTRY__INIT;

	assert_int_equal(cgroup_set_parse(a, text, &set), 0);
	assert_int_equal(set.n_ctls, 4);
	assert_string_equal(set.ctls[0]->name, "");
	assert_string_equal(set.ctls[1]->name, "cpu,cpuacct");
	assert_string_equal(set.ctls[3]->name, "name=systemd");
	assert_string_equal(cgroup_set_path(&set, ""), "/v2");
	assert_string_equal(cgroup_set_path(&set, "memory"), "/a:b/c");
	assert_string_equal(cgroup_set_path(&set, "cpu,cpuacct"), "/x");
	assert_null(cgroup_set_path(&set, "pids"));
	arena_free(a);
}

static void test_odd_text(void **state)
{
	static const char *const odd[] = { "0:", "0::", "::", "0::relative", "\n", "0::/a\nx" };
	struct arena *a = arena_new();

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		CgSetEntry set = CG_SET_ENTRY__INIT;

		assert_int_equal(cgroup_set_parse(a, odd[i], &set), -EBADMSG);
	}
	arena_free(a);
}

static void test_own(void **state)
{
	struct arena *a = arena_new();
	CgSetEntry set = CG_SET_ENTRY__INIT;
	char *text = NULL;

	if (!cgroup_set_read(getpid(), 0, &text)) {
		assert_int_equal(cgroup_set_parse(a, text, &set), 0);
		assert_true(set.n_ctls > 0);
	}
	free(text);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_kinds),
		cmocka_unit_test(test_odd_text),
		cmocka_unit_test(test_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
