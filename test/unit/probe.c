/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of the kernel give the same answer twice and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "probe/probe.h"

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_try(void **state)
{
	int fds = count_fds();

	for (int i = 0; i < FEATURE_COUNT; i++) {
		double start = seconds();
		int err = probe_try((enum feature)i);

		print_message("%-28s %5.0f us  %s\n", probe_features[i].name, (seconds() - start) * 1e6,
		              err ? strerror(-err) : "there");
		assert_true(err <= 0);
		assert_int_equal(probe_try((enum feature)i), err);
		assert_int_equal(probe_by_name(probe_features[i].name), i);
		assert_true(probe_features[i].class >= FEATURE_REQUIRED && probe_features[i].class <= FEATURE_NAMED);
	}
	assert_int_equal(probe_by_name("nonsense"), -ENOENT);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(probe_try(FEATURE_process_vm_readv), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_try),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
