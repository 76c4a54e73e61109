/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes of the kernel leave nothing behind; their cache is believed only when it is ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "core/probe.h"

static char dir[64], cache[96], other[96];

static double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/unit-probe.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(cache, sizeof(cache), "%s/kdat", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	return 0;
}

static int teardown(void **state)
{
	unlink(cache);
	unlink(other);
	return rmdir(dir); /* no temporary file is left */
}

/* Loads; the answers are those of before, from wherever. */
static bool load(uint64_t bits)
{
	struct probes p = { 0 };
	bool cached;

	probes_load_from(&p, cache, &cached);
	assert_true(p.bits == bits);
	return cached;
}

static uint64_t fresh(void)
{
	struct probes p = { 0 };
	bool cached;

	unlink(cache);
	probes_load_from(&p, cache, &cached);
	assert_false(cached);
	return p.bits;
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

		print_message("%-28s %5.0f us  %s\n", feature_rows[i].name, (seconds() - start) * 1e6,
		              err ? strerror(-err) : "there");
		assert_true(err <= 0);
		assert_int_equal(probe_try((enum feature)i), err);
		assert_int_equal(probe_by_name(feature_rows[i].name), i);
		assert_true(feature_rows[i].class >= FEATURE_REQUIRED && feature_rows[i].class <= FEATURE_EXPERIMENTAL);
	}
	assert_int_equal(probe_by_name("nonsense"), -ENOENT);
	assert_int_equal(count_fds(), fds);
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(probe_try(FEATURE_process_vm_readv), 0);
}

static void test_warm(void **state)
{
	uint64_t bits = fresh();
	struct probes p = { .bits = bits };
	struct stat st;
	double start;

	for (int i = 0; i < FEATURE_COUNT; i++)
		assert_int_equal(probe_has(&p, (enum feature)i), probe_try((enum feature)i) == 0);
	assert_int_equal(stat(cache, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	start = seconds();
	for (int i = 0; i < 100; i++)
		assert_true(load(bits));
	print_message("from the cache: %.0f us\n", (seconds() - start) * 1e4);
}

static void test_damage(void **state)
{
	uint64_t bits = fresh();
	struct stat st;

	stat(cache, &st);
	for (off_t at = 0; at < st.st_size; at += 61) {
		int fd = open(cache, O_RDWR);
		unsigned char c;

		assert_int_equal(pread(fd, &c, 1, at), 1);
		c ^= 0x10;
		assert_int_equal(pwrite(fd, &c, 1, at), 1);
		close(fd);
		assert_false(load(bits));
		assert_true(load(bits)); /* it was written anew */
	}
	assert_int_equal(truncate(cache, st.st_size - 1), 0);
	assert_false(load(bits));
	assert_int_equal(truncate(cache, 0), 0);
	assert_false(load(bits));
	assert_int_equal(truncate(cache, st.st_size + 1), 0);
	assert_false(load(bits));
	assert_true(load(bits));
}

static void test_not_ours(void **state)
{
	uint64_t bits = fresh();

	assert_int_equal(chmod(cache, 0644), 0);
	assert_false(load(bits));
	assert_true(load(bits));
	assert_int_equal(link(cache, other), 0);
	assert_false(load(bits));
	unlink(other);
	assert_true(load(bits));
	assert_int_equal(rename(cache, other), 0);
	assert_int_equal(symlink(other, cache), 0);
	assert_false(load(bits));
	unlink(other);
	assert_true(load(bits));
	if (geteuid() == 0) {
		assert_int_equal(chown(cache, 12345, 0), 0);
		assert_false(load(bits));
		assert_true(load(bits));
	}
	unlink(cache);
	assert_int_equal(mkfifo(cache, 0600), 0);
	assert_false(load(bits)); /* and does not wait for a writer */
	unlink(cache);
	assert_int_equal(mkdir(cache, 0700), 0);
	assert_false(load(bits));
	assert_false(load(bits));
	assert_int_equal(rmdir(cache), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_try),
		cmocka_unit_test(test_warm),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_not_ours),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
