/* SPDX-License-Identifier: GPL-2.0-only */
/* Answers that are kept: given back whole, or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/btf_kept.h"

static char path[] = "/tmp/btf_kept.XXXXXX";

static int answer_in_file(const char *question)
{
	struct btf_kept *k = btf_kept_read(path);
	int answer = -1;

	assert_non_null(k);
	if (!btf_kept_find(k, question, &answer))
		answer = -1;
	btf_kept_free(k);
	return answer;
}

static void write_two(void)
{
	struct btf_kept *k = btf_kept_read(path);

	assert_non_null(k);
	btf_kept_add(k, "offset a b.c", 17);
	btf_kept_add(k, "offset a b", -2);
	btf_kept_write(k);
	btf_kept_free(k);
}

static void given_back(void **state)
{
	write_two();
	assert_int_equal(answer_in_file("offset a b.c"), 17);
	assert_int_equal(answer_in_file("offset a b"), -2);
	assert_int_equal(answer_in_file("offset a"), -1);
	assert_int_equal(answer_in_file("set a b.c"), -1);
}

static void of_another(void **state)
{
	write_two();
	assert_int_equal(chmod(path, 0620), 0);
	assert_int_equal(answer_in_file("offset a b.c"), -1);
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(answer_in_file("offset a b.c"), 17);
	assert_int_equal(chown(path, 1, 0), 0);
	assert_int_equal(answer_in_file("offset a b.c"), -1);
	assert_int_equal(chown(path, 0, 0), 0);
}

static void damaged(void **state)
{
	static char whole[4096];
	ssize_t n;
	int fd;

	write_two();
	fd = open(path, O_RDWR | O_CLOEXEC);
	n = read(fd, whole, sizeof(whole));
	assert_true(n > 60);
	for (ssize_t i = 0; i < n; i++) {
		char other = (char)(whole[i] ^ 1);

		assert_int_equal(pwrite(fd, &other, 1, i), 1);
		assert_int_equal(answer_in_file("offset a b.c"), -1);
		assert_int_equal(pwrite(fd, whole + i, 1, i), 1);
	}
	assert_int_equal(answer_in_file("offset a b.c"), 17);
	while (n--) {
		assert_int_equal(ftruncate(fd, n), 0);
		assert_int_equal(answer_in_file("offset a b.c"), -1);
	}
	close(fd);
	write_two(); /* over what is damaged */
	assert_int_equal(answer_in_file("offset a b.c"), 17);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(given_back),
		cmocka_unit_test(of_another),
		cmocka_unit_test(damaged),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0)
		return 1;
	close(fd);
	failed = geteuid() ? 0 : cmocka_run_group_tests(tests, NULL, NULL); /* nothing is kept for others */
	unlink(path);
	return failed;
}
