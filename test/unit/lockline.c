/* SPDX-License-Identifier: GPL-2.0-only */
/* Lines of locks, as the kernel writes them and as nobody should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>

#include <cmocka.h>

#include "proc/lockline.h"

static void kinds(void **state)
{
	struct lock_line l;

	assert_int_equal(lockline_parse("lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:10969432 10 14\nlock:\t2: x", &l),
	                 0);
	assert_int_equal(l.kind, LOCK_POSIX);
	assert_int_equal(l.type, F_WRLCK);
	assert_int_equal(l.pid, 812);
	assert_int_equal(l.dev_major, 0xfe);
	assert_int_equal(l.ino, 10969432);
	assert_int_equal(l.start, 10);
	assert_int_equal(l.len, 5);
	assert_int_equal(lockline_parse("7: OFDLCK ADVISORY  READ -1 fe:00:1 4611686018427387904 EOF", &l), 0);
	assert_true(l.kind == LOCK_OFD && l.type == F_RDLCK && l.pid == -1 && l.start == 1LL << 62 && !l.len);
	assert_int_equal(lockline_parse("1: FLOCK  ADVISORY  WRITE 0 fe:00:1 0 EOF", &l), 0);
	assert_true(l.kind == LOCK_FLOCK && !l.pid && !l.breaking);
	assert_int_equal(lockline_parse("1: LEASE  BREAKING  UNLCK 5 fe:00:1 0 EOF", &l), 0);
	assert_true(l.kind == LOCK_LEASE && l.breaking && l.type == F_UNLCK);
	assert_int_equal(lockline_parse("lock:\t1: POSIX  ADVISORY  READ 1 fe:00:1 0 9223372036854775806", &l), 0);
	assert_int_equal(l.len, INT64_MAX);
}

static void odd(void **state)
{
	static const char *const lines[] = {
		"",
		"lock:",
		"lock:\t1: POSIX",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:10969432 10",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:10969432 10\n14",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 14 10",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 -5 10",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 1x 10",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 1 EOT",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 1 9223372036854775807",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 fe:00:1 99999999999999999999 EOF",
		"lock:\t1: POSIX  ADVISORY  WRITE 812 <none>:0 10 14",
		"lock:\t1: DELEG  ACTIVE    READ 5 fe:00:1 0 EOF",
		"lock:\t1: POSIX  ADVISORY  EXCL 5 fe:00:1 0 EOF",
		"1: -> FLOCK ADVISORY  WRITE 5 fe:00:1 0 EOF",
	};
	struct lock_line l;

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		assert_true(lockline_parse(lines[i], &l) < 0);
	assert_null(proc_next_line("one"));
	assert_null(proc_next_line("one\n"));
	assert_string_equal(proc_next_line("one\ntwo"), "two");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(kinds), cmocka_unit_test(odd) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
