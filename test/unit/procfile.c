/* SPDX-License-Identifier: GPL-2.0-only */
/* Paths below /proc/PID, and what the fdinfo of a pidfd says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "proc/fdinfo.h"
#include "path/procfile.h"

static void paths(void **state)
{
	struct proc_path p;

	assert_true(procfile_parse_path("/proc/812/stat", &p));
	assert_int_equal(p.pid, 812);
	assert_int_equal(p.tid, 0);
	assert_int_equal(p.mount_len, 5);
	assert_string_equal(p.rest, "/stat");
	assert_true(procfile_parse_path("/proc/812", &p));
	assert_string_equal(p.rest, "");
	assert_true(procfile_parse_path("/proc/812 (deleted)", &p));
	assert_int_equal(p.pid, 812);
	assert_true(procfile_parse_path("/proc/1/task/815/fd/3", &p));
	assert_int_equal(p.pid, 1);
	assert_int_equal(p.tid, 815);
	assert_string_equal(p.rest, "/fd/3");
	assert_true(procfile_parse_path("/proc/1/task", &p));
	assert_int_equal(p.tid, 0);
	assert_string_equal(p.rest, "/task");
	assert_true(procfile_parse_path("/proc/1/tasks/3", &p));
	assert_int_equal(p.tid, 0);
}

static void others(void **state)
{
	static const char *const names[] = { "",
		                             "/proc",
		                             "/proc/self/stat",
		                             "/proc/sys/kernel/pid_max",
		                             "/proc/012/stat",
		                             "/proc/12x/stat",
		                             "/proc/99999999999999999999/stat",
		                             "/tmp/12/stat",
		                             "/12/stat",
		                             "pipe:[12]" };
	struct proc_path p;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_false(procfile_parse_path(names[i], &p));
}

static void pidfds(void **state)
{
	int32_t pid = 0, inner = 0;

	assert_int_equal(fdinfo_parse_pidfd("pos:\t0\nPid:\t812\nNSpid:\t812\t7\t1\n", &pid, &inner), 0);
	assert_int_equal(pid, 812);
	assert_int_equal(inner, 1);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\t-1\nNSpid:\t-1\n", &pid, &inner), 0);
	assert_int_equal(pid, -1);
	assert_int_equal(inner, -1);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\t1\n", &pid, &inner), -EINVAL);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\n12\nNSpid:\t1\n", &pid, &inner), -EINVAL);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\t1\nNSpid:\t1 x\n", &pid, &inner), -EINVAL);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\t4294967296\nNSpid:\t1\n", &pid, &inner), -EINVAL);
	assert_int_equal(fdinfo_parse_pidfd("Pid:\t-2\nNSpid:\t1\n", &pid, &inner), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),
		cmocka_unit_test(others),
		cmocka_unit_test(pidfds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
