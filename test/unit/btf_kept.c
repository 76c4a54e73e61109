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
	assert_int_equal(lchown(path, 1, 0), 0);
	assert_int_equal(answer_in_file("offset a b.c"), -1);
	assert_int_equal(lchown(path, 0, 0), 0);
	assert_int_equal(answer_in_file("offset a b.c"), 17);
}

static void put_link(const char *text)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(text, path), 0);
}

static void damaged(void **state)
{
	static char whole[4096];
	ssize_t n;

	write_two();
	n = readlink(path, whole, sizeof(whole) - 1);
	assert_true(n > 60);
	for (ssize_t i = 0; i < n; i++) {
		whole[i] ^= 1;
		put_link(whole);
		assert_int_equal(answer_in_file("offset a b.c"), -1);
		whole[i] ^= 1;
	}
	put_link(whole);
	assert_int_equal(answer_in_file("offset a b.c"), 17);
	while (--n) {
		whole[n] = 0;
		put_link(whole);
		assert_int_equal(answer_in_file("offset a b.c"), -1);
	}
	write_two(); /* over what is damaged */
	assert_int_equal(answer_in_file("offset a b.c"), 17);
}

/* What has no room is left out, and what was kept stays. */
static void too_many(void **state)
{
	struct btf_kept *k = btf_kept_read(path);
	char question[40];

	assert_non_null(k);
	for (int i = 0; i < 1000; i++) {
		snprintf(question, sizeof(question), "offset type member_%d", i);
		btf_kept_add(k, question, i);
	}
	btf_kept_write(k);
	btf_kept_free(k);
	assert_int_equal(answer_in_file("offset a b.c"), 17);
	assert_int_equal(answer_in_file("offset type member_100"), 100);
	assert_int_equal(answer_in_file("offset type member_999"), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(given_back),
		cmocka_unit_test(of_another),
		cmocka_unit_test(damaged),
		cmocka_unit_test(too_many),
	};
	int fd = mkstemp(path), failed;

	if (fd < 0 || close(fd))
		return 1;
	failed = geteuid() ? 0 : cmocka_run_group_tests(tests, NULL, NULL); /* nothing is kept for others */
	unlink(path);
	return failed;
}
