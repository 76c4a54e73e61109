/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers out of fdinfo, and the flags of a descriptor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <string.h>

#include <cmocka.h>

#include "lib/fd_flags.h"
#include "proc/fdinfo.h"

#define TIMER                                                                                                          \
	"pos:\t0\nflags:\t02\nclockid: 1\nticks: 3\nsettime flags: 01\nit_value: (1, 2)\neventfd-count:              " \
	" "                                                                                                            \
	"1f\nlast:"

static void numbers(void **state)
{
	uint64_t v = 7;

	assert_int_equal(fdinfo_number(TIMER, "clockid", 10, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(fdinfo_number(TIMER, "settime flags", 8, &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(fdinfo_number(TIMER, "eventfd-count", 16, &v), 0);
	assert_int_equal(v, 0x1f);
	assert_int_equal(fdinfo_number("n: 18446744073709551615", "n", 10, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(fdinfo_number("n: 18446744073709551616", "n", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number("n: -1", "n", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number("n: x", "n", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number(TIMER, "last", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number(TIMER, "tick", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number(TIMER, "icks", 10, &v), -EINVAL);
	assert_int_equal(fdinfo_number("", "n", 10, &v), -EINVAL);
}

static void values(void **state)
{
	assert_int_equal(strncmp(fdinfo_value(TIMER, "it_value"), "(1, 2)\n", 7), 0);
	assert_string_equal(fdinfo_value(TIMER, "last"), "");
	assert_null(fdinfo_value(TIMER, "it_interval"));
	assert_null(fdinfo_value("", "n"));
}

static void flags(void **state)
{
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fd_flags_restore(p[0], O_RDONLY | O_NONBLOCK), 0);
	assert_true(fcntl(p[0], F_GETFL) & O_NONBLOCK);
	/* The access mode and what open() alone knows are left as they are. */
	assert_int_equal(fd_flags_restore(p[0], O_RDWR | O_CREAT | O_APPEND), 0);
	assert_int_equal(fcntl(p[0], F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDONLY | O_APPEND);
	close(p[0]);
	assert_int_equal(fd_flags_restore(p[0], O_NONBLOCK), -EBADF);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(values),
		cmocka_unit_test(flags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
