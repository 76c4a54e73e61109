/* SPDX-License-Identifier: GPL-2.0-only */
/* Executors: what goes there and comes back, their end, who starts them, many of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "executor_util.h"
#include "lib/log.h"

/* ---- what goes there and comes back ---- */

static int add_up(struct executor_job *job)
{
	const int *n = job->arg;
	long *sum = job->result;

	assert_int_equal(*sum, 0);
	for (size_t i = 0; i < job->arg_len / sizeof(*n); i++)
		*sum += n[i];
	return (int)job->result_len;
}

static void arguments_and_results(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	int *n = calloc(EXECUTOR_DATA_MAX, 1);
	long sum = 77;
	struct executor_call c = { .fn = add_up, .arg = n, .result = &sum, .result_len = sizeof(sum) };

	assert_true(executor_pid(e) != getpid());
	for (int i = 0; i < 1000; i++)
		n[i] = i;
	for (size_t many = 0; many < 1000; many += 37) {
		c.arg_len = many * sizeof(*n);
		assert_int_equal(executor_run(e, &c), sizeof(sum));
		assert_int_equal(sum, many ? many * (many - 1) / 2 : 0);
	}
	c.arg_len = EXECUTOR_DATA_MAX - 16;
	assert_int_equal(executor_run(e, &c), sizeof(sum));
	assert_int_equal(sum, 999 * 1000 / 2);
	c.arg_len = EXECUTOR_DATA_MAX;
	assert_int_equal(executor_run(e, &c), -E2BIG);
	free(n);
	executor_end(e);
	nothing_is_left();
}

static int fail_with(struct executor_job *job)
{
	*(int *)job->result = 5;
	job->out[job->n_out++] = open("/", O_PATH);
	return *(const int *)job->arg;
}

static void an_error_brings_nothing_back(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	int err = -EKEYREJECTED, result = 3, fd = -1;
	struct executor_call c = { .fn = fail_with, .arg = &err, .arg_len = sizeof(err), .result = &result };

	c.result_len = sizeof(result);
	c.out = &fd;
	for (int i = 0; i < 100; i++) {
		c.n_out = 1;
		assert_int_equal(executor_run(e, &c), err);
		assert_int_equal(c.n_out, 0);
	}
	assert_int_equal(result, 3);
	assert_int_equal(fd, -1);
	assert_int_equal(descriptors_of(e), bare_descriptors);
	executor_end(e);
}

/* Returns the descriptors that it was given, and writes their places into them. */
static int mark_and_return(struct executor_job *job)
{
	for (size_t i = 0; i < job->n_fds; i++) {
		int number = (int)i;

		if (pwrite(job->fds[i], &number, sizeof(number), 0) != sizeof(number))
			return -errno;
		job->out[job->n_out++] = move_fd(&job->fds[i]);
	}
	return 0;
}

static void descriptors_both_ways(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	int in[RIGHTS_MAX + 1], out[RIGHTS_MAX], number;
	struct executor_call c = { .fn = mark_and_return, .fds = in, .out = out };
	struct stat a, b;

	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		in[i] = memfd_create("in", MFD_CLOEXEC);
	for (c.n_fds = 0; c.n_fds <= RIGHTS_MAX; c.n_fds += 125) {
		c.n_out = RIGHTS_MAX;
		assert_int_equal(executor_run(e, &c), 0);
		assert_int_equal(c.n_out, c.n_fds);
		for (size_t i = 0; i < c.n_out; i++) {
			assert_int_equal(pread(in[i], &number, sizeof(number), 0), sizeof(number));
			assert_int_equal(number, i);
			assert_true(fstat(in[i], &a) == 0 && fstat(out[i], &b) == 0 && a.st_ino == b.st_ino);
			assert_int_equal(fcntl(out[i], F_GETFD), FD_CLOEXEC);
			close(out[i]);
		}
	}
	c.n_fds = RIGHTS_MAX + 1;
	assert_int_equal(executor_run(e, &c), -E2BIG);
	c.n_fds = 10;
	c.n_out = 9;
	assert_int_equal(executor_run(e, &c), -EMFILE);
	assert_int_equal(c.n_out, 0);
	for (size_t i = 0; i < ARRAY_SIZE(in); i++)
		close(in[i]);
	assert_int_equal(descriptors_of(e), bare_descriptors);
	executor_end(e);
	nothing_is_left();
}

static int keep_one(struct executor_job *job)
{
	return move_fd(&job->fds[0]);
}

static int read_kept(struct executor_job *job)
{
	return pread(*(const int *)job->arg, job->result, job->result_len, 0) < 0 ? -errno : 0;
}

static void a_descriptor_may_stay_there(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	int fds[2] = { memfd_create("a", 0), memfd_create("b", 0) }, kept;
	char text[8];
	struct executor_call keep = { .fn = keep_one, .fds = fds, .n_fds = 2 },
	                     get = { .fn = read_kept, .arg = &kept, .arg_len = sizeof(kept) };

	assert_int_equal(write(fds[0], "content", 8), 8);
	kept = executor_run(e, &keep);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(descriptors_of(e), bare_descriptors + 1);
	get.result = text;
	get.result_len = sizeof(text);
	assert_int_equal(executor_run(e, &get), 0);
	assert_string_equal(text, "content");
	executor_end(e);
}

static int complain(struct executor_job *job)
{
	log_refusal(-EBUSY, "first refusal");
	return log_errno(-ENOENT, "second error");
}

/* What is logged there counts here. */
static void errors_are_counted(void **state)
{
	struct executor *e;

	log_refusal(-EPERM, "of before");
	e = start((struct executor_spec) { 0 });
	assert_int_equal(log_refusals(), 1);
	log_init(-1, 0);
	assert_int_equal(call(e, complain, NULL, 0, NULL, 0), -ENOENT);
	assert_int_equal(log_refusals(), 1);
	assert_int_equal(log_first_errno(), -EBUSY);
	assert_string_equal(log_first_text(), "first refusal: Device or resource busy");
	assert_int_equal(call(e, complain, NULL, 0, NULL, 0), -ENOENT);
	assert_int_equal(log_refusals(), 2);
	executor_end(e);
	log_init(-1, 0);
}

/* ---- its end ---- */

static int die_by(struct executor_job *job)
{
	int sig = *(const int *)job->arg;

	if (sig)
		signal(sig, SIG_DFL);
	return sig ? kill(getpid(), sig) : (_exit(0), 0);
}

static int close_all(struct executor_job *job)
{
	return close_range(0, ~0U, 0);
}

static int last_for_ever(struct executor_job *job)
{
	for (;;)
		pause();
	return 0;
}

static void ends_in_the_middle(struct executor_call *c, int err)
{
	struct executor *e = start((struct executor_spec) { 0 });
	pid_t pid = executor_pid(e);

	assert_int_equal(executor_run(e, c), err);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(executor_run(e, c), -ESRCH);
	executor_end(e);
	nothing_is_left();
}

static void whatever_fn_does_is_an_errno(void **state)
{
	int kill_it = SIGKILL, leave = 0;
	struct timespec from, to;

	ends_in_the_middle(&(struct executor_call) { .fn = die_by, .arg = &kill_it, .arg_len = sizeof(int) }, -EFAULT);
	ends_in_the_middle(&(struct executor_call) { .fn = die_by, .arg = &leave, .arg_len = sizeof(int) }, -ECANCELED);
	ends_in_the_middle(&(struct executor_call) { .fn = (executor_fn)8 }, -EFAULT);
	clock_gettime(CLOCK_MONOTONIC, &from);
	ends_in_the_middle(&(struct executor_call) { .fn = last_for_ever, .timeout_ms = 50 }, -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &to);
	assert_true((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 < 5000);
}

/* criu ends it, or it ends itself. */
static void without_its_socket(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	int err = call(e, close_all, NULL, 0, NULL, 0);

	assert_true(err == -EFAULT || err == -ECANCELED);
	executor_end(e);
	nothing_is_left();
}

static void killed_between_two_calls(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	struct executor_call c = { .fn = own_pid };

	assert_int_equal(executor_run(e, &c), executor_pid(e));
	kill(executor_pid(e), SIGKILL);
	assert_int_equal(executor_run(e, &c), -EFAULT);
	assert_int_equal(executor_run(e, &c), -ESRCH);
	executor_end(e);
	nothing_is_left();
}

/* ---- who starts them ---- */

static void *start_in_thread(void *spec)
{
	struct executor *e = NULL;
	int err = executor_start(spec, &e);

	if (e)
		executor_end(e);
	return (void *)(long)err;
}

static void threads_need_an_executor(void **state)
{
	struct executor *e = start((struct executor_spec) { 0 });
	struct executor_spec from_criu = { 0 }, from = { .from = e, .make = CLONE_NEWUTS };
	pthread_t thread;
	void *err;

	pthread_create(&thread, NULL, start_in_thread, &from_criu);
	pthread_join(thread, &err);
	assert_int_equal((long)err, -EBUSY);
	pthread_create(&thread, NULL, start_in_thread, &from);
	pthread_join(thread, &err);
	assert_int_equal((long)err, 0);
	executor_end(start((struct executor_spec) { 0 }));
	executor_end(e);
	nothing_is_left();
}

static int warn_of_it(struct executor_job *job)
{
	log_warn("from an executor");
	return 0;
}

/* Whatever criu has open, an executor has its own alone. */
static void has_no_descriptors_of_criu(void **state)
{
	int fds[20], log = memfd_create("log", MFD_CLOEXEC);
	struct executor *e, *other;
	char line[32] = "";

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = open("/", O_PATH);
	e = start((struct executor_spec) { 0 });
	other = start((struct executor_spec) { .from = e });
	assert_int_equal(descriptors_of(e), bare_descriptors);
	assert_int_equal(descriptors_of(other), bare_descriptors);
	executor_end(other);
	executor_end(e);
	log_init(log, LOG_WARN);
	e = start((struct executor_spec) { 0 });
	other = start((struct executor_spec) { .from = e });
	assert_int_equal(descriptors_of(other), bare_descriptors + 1);
	assert_int_equal(call(other, warn_of_it, NULL, 0, NULL, 0), 0);
	assert_true(pread(log, line, sizeof(line) - 1, 0) > 0);
	assert_non_null(strstr(line, "Warn"));
	executor_end(other);
	executor_end(e);
	log_init(-1, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	close(log);
	nothing_is_left();
}

/* ---- many ---- */

static int make_socket(struct executor_job *job)
{
	job->out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	job->n_out = job->out[0] >= 0;
	return job->out[0] < 0 ? -errno : 0;
}

static void a_thousand_calls_in_a_row(void **state)
{
	struct executor *e = start((struct executor_spec) { .make = CLONE_NEWNET });
	int before = descriptors_of_ours(), there = descriptors_of(e);

	for (int i = 0; i < 1000; i++)
		close(call_for_fd(e, make_socket));
	assert_int_equal(descriptors_of_ours(), before);
	assert_int_equal(descriptors_of(e), there);
	executor_end(e);
	nothing_is_left();
}

static void hundreds_started_and_ended(void **state)
{
	struct executor *base = start((struct executor_spec) { 0 });
	int before = descriptors_of_ours();

	for (int i = 0; i < 300; i++)
		executor_end(start((struct executor_spec) { .from = i % 2 ? base : NULL,
		                                            .make = i % 3 ? CLONE_NEWUTS : CLONE_NEWPID }));
	assert_int_equal(descriptors_of_ours(), before);
	executor_end(base);
	nothing_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_and_results),     cmocka_unit_test(an_error_brings_nothing_back),
		cmocka_unit_test(descriptors_both_ways),     cmocka_unit_test(a_descriptor_may_stay_there),
		cmocka_unit_test(errors_are_counted),        cmocka_unit_test(whatever_fn_does_is_an_errno),
		cmocka_unit_test(without_its_socket),        cmocka_unit_test(killed_between_two_calls),
		cmocka_unit_test(threads_need_an_executor),  cmocka_unit_test(has_no_descriptors_of_criu),
		cmocka_unit_test(a_thousand_calls_in_a_row), cmocka_unit_test(hundreds_started_and_ended),
	};

	log_init(-1, 0);
	own_descriptors = descriptors_of_ours();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
