/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers of criu's own processes and threads: none of those to be avoided, whatever the kernel gives next. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "helper/helper.h"
#include "lib/own_pids.h"

#define FIRST  5000 /* avoided: all from here on, but every tenth */
#define N      900
#define ROUNDS 300

static pid_t avoided[N];
static size_t n_avoided;

static bool set_last(pid_t pid)
{
	int fd = open(OWN_PIDS_LAST, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && dprintf(fd, "%d", pid) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/* The kernel's next number is the first that is avoided. */
static void before_them(void **state)
{
	n_avoided = 0;
	for (pid_t pid = FIRST; n_avoided < N; pid++)
		if (pid % 10)
			avoided[n_avoided++] = pid;
	own_pids_avoid(avoided, n_avoided);
	if (!set_last(avoided[0] - 1))
		skip();
}

static void is_avoided(void **state)
{
	before_them(state);
	assert_int_equal(own_pids_last_avoided(), avoided[N - 1]);
	for (size_t i = 0; i < N; i++)
		assert_true(own_pids_avoided(avoided[i]));
	assert_false(own_pids_avoided(FIRST - 1));
	assert_false(own_pids_avoided(FIRST + 10));
	assert_false(own_pids_avoided(avoided[N - 1] + 1));
	own_pids_avoid(NULL, 0);
	assert_false(own_pids_avoided(avoided[0]));
	assert_int_equal(own_pids_last_avoided(), 0);
}

static int say_pid(void *arg)
{
	*(pid_t *)arg = (pid_t)syscall(SYS_getpid);
	return 0;
}

static void helpers(void **state)
{
	pid_t before = 0;

	before_them(state);
	for (int i = 0; i < ROUNDS; i++) {
		pid_t pid = 0;

		set_last(avoided[0] - 1);
		assert_int_equal(helper_run(&(struct helper_spec) { .flags = CLONE_VM }, say_pid, &pid), 0);
		assert_true(pid > 0 && pid != before);
		assert_false(own_pids_avoided(pid));
		before = pid;
	}
	own_pids_avoid(NULL, 0);
}

/* One that is to have a number gets that one, avoided or not. */
static void a_number_that_is_wanted(void **state)
{
	pid_t pid = 0;

	before_them(state);
	assert_int_equal(helper_run(&(struct helper_spec) { .flags = CLONE_VM, .pid = avoided[7] }, say_pid, &pid), 0);
	assert_int_equal(pid, avoided[7]);
	own_pids_avoid(NULL, 0);
}

static atomic_int begun;

static void *say_tid(void *arg)
{
	atomic_fetch_add(&begun, 1);
	*(pid_t *)arg = gettid();
	return NULL;
}

static atomic_bool ended;

static void *set_back(void *arg)
{
	while (!atomic_load(&ended)) {
		set_last(avoided[0] - 1);
		usleep(100);
	}
	return NULL;
}

/* The counter is set back again and again, so that many threads get a number that is avoided at first. */
static void threads(void **state)
{
	pthread_t other;

	before_them(state);
	assert_int_equal(pthread_create(&other, NULL, set_back, NULL), 0);
	atomic_store(&begun, 0);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_t thread;
		pid_t tid = 0;

		assert_int_equal(own_pids_thread(&thread, say_tid, &tid), 0);
		pthread_join(thread, NULL);
		assert_true(tid > 0);
		assert_false(own_pids_avoided(tid));
	}
	atomic_store(&ended, true);
	pthread_join(other, NULL);
	assert_int_equal(atomic_load(&begun), ROUNDS);
	own_pids_avoid(NULL, 0);
}

/* For what programs start by themselves. */
static void the_counter_is_past_them(void **state)
{
	char text[24] = "";
	int fd;

	before_them(state);
	set_last(avoided[0] - 1);
	own_pids_steer();
	fd = open(OWN_PIDS_LAST, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	assert_true(atoi(text) >= avoided[N - 1]);
	own_pids_avoid(NULL, 0);
}

/* Where set_tid is not allowed, any number will do. */
static void not_allowed(void **state)
{
	struct clone_args args = { 0 };
	struct own_pid n = { 0 };

	before_them(state);
	own_pids_set(&n, &args);
	assert_true(args.set_tid_size == 1 && !own_pids_avoided(n.chosen));
	assert_true(own_pids_again(&n, -EEXIST));
	own_pids_set(&n, &args);
	assert_true(args.set_tid_size == 1);
	assert_true(own_pids_again(&n, -EPERM));
	own_pids_set(&n, &args);
	assert_true(args.set_tid_size == 0 && args.set_tid == 0);
	assert_false(own_pids_again(&n, -EPERM));
	assert_false(own_pids_again(&n, 77));
	own_pids_avoid(NULL, 0);
	n = (struct own_pid) { 0 };
	own_pids_set(&n, &args);
	assert_true(args.set_tid_size == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_avoided),
		cmocka_unit_test(helpers),
		cmocka_unit_test(a_number_that_is_wanted),
		cmocka_unit_test(threads),
		cmocka_unit_test(the_counter_is_past_them),
		cmocka_unit_test(not_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
