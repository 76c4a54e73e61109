/* SPDX-License-Identifier: GPL-2.0-only */
/* What tests of executors share: starting and calling them, and a look at what is left. */
#ifndef TEST_UNIT_EXECUTOR_UTIL_H
#define TEST_UNIT_EXECUTOR_UTIL_H

#include <dirent.h>
#include <sys/wait.h>

#include "helper/executor.h"

/* ---- executors ---- */

static inline struct executor *start(struct executor_spec spec)
{
	struct executor *e = NULL;

	assert_int_equal(executor_start(&spec, &e), 0);
	assert_non_null(e);
	return e;
}

static inline int call(struct executor *e, executor_fn fn, const void *arg, size_t arg_len, void *result, size_t len)
{
	return executor_run(
	    e,
	    &(struct executor_call) {
	        .fn = fn, .arg = arg, .arg_len = arg_len, .result = result, .result_len = len, .timeout_ms = 60000 });
}

static inline int call_for_fd(struct executor *e, executor_fn fn)
{
	int fd = -1;
	struct executor_call c = { .fn = fn, .out = &fd, .n_out = 1, .timeout_ms = 60000 };

	assert_int_equal(executor_run(e, &c), 0);
	assert_int_equal(c.n_out, 1);
	return fd;
}

static inline int own_pid(struct executor_job *job)
{
	return getpid();
}

static inline int own_uid(struct executor_job *job)
{
	return (int)getuid();
}

/* ---- what is left ---- */

static inline int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = -2;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* What an executor has: standard input, output and error, its socket, and criu's pidfd. */
static const int bare_descriptors = 5;

static inline int descriptors_of(const struct executor *e)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", executor_pid(e));
	return count_entries(path);
}

static inline int descriptors_of_ours(void)
{
	return count_entries("/proc/self/fd") - 1;
}

/* Of a test program, before anything: without the one that opendir(3) has. */
static int own_descriptors;

static inline void nothing_is_left(void)
{
	assert_int_equal(waitpid(-1, NULL, __WALL | WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(descriptors_of_ours(), own_descriptors);
}

#endif
