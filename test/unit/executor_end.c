/* SPDX-License-Identifier: GPL-2.0-only */
/* Executors end with criu: a child that stands for it starts some and is killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "executor_util.h"
#include "helper/helper.h"
#include "lib/log.h"

#define MOST 8

struct shared {
	volatile pid_t pids[MOST];
	volatile size_t n;
	volatile bool ready;
};

static struct shared *shared;

static int last_for_ever(struct executor_job *job)
{
	shared->ready = true;
	for (;;)
		pause();
	return 0;
}

/* The kernel takes the death signal of a task whose ids change. */
static int lose_death_signal(struct executor_job *job)
{
	int sig = 1;

	if (syscall(SYS_setresuid, 1000, 1000, 1000) || prctl(PR_GET_PDEATHSIG, &sig))
		return -errno;
	return sig;
}

static struct executor *start_noted(struct executor_spec spec)
{
	struct executor *e = NULL;

	if (executor_start(&spec, &e))
		_exit(1);
	shared->pids[shared->n] = executor_pid(e);
	shared->n++;
	return e;
}

/* ---- what criu does until it is killed ---- */

static void start_many(void)
{
	struct executor_spec nested = { .make = CLONE_NEWUSER | CLONE_NEWNET };

	nested.from = start_noted((struct executor_spec) { .make = CLONE_NEWNET });
	nested.uid_map = nested.gid_map = "0 100000 65536";
	nested.from = start_noted(nested);
	nested.uid_map = nested.gid_map = "0 0 1000";
	start_noted(nested);
	start_noted((struct executor_spec) { .make = CLONE_NEWPID });
	start_noted((struct executor_spec) { .from = nested.from, .make = CLONE_NEWPID | CLONE_NEWTIME });
	shared->ready = true;
}

static void call_without_end(void)
{
	call(start_noted((struct executor_spec) { .make = CLONE_NEWUTS }), last_for_ever, NULL, 0, NULL, 0);
}

static int hold_descriptors(void *arg)
{
	for (;;)
		pause();
	return 0;
}

/* A guardian shares criu's descriptors, and with them its end of the sockets. */
static void with_a_guardian(void)
{
	struct executor *e = start_noted((struct executor_spec) { 0 });
	struct helper_spec guardian = { .flags = CLONE_FILES, .outlives = true };

	shared->pids[MOST - 1] = helper_start(&guardian, hold_descriptors, NULL);
	shared->ready = shared->pids[MOST - 1] > 0 && call(e, lose_death_signal, NULL, 0, NULL, 0) == 0;
}

/* ---- the tests ---- */

static int open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	assert_true(fd >= 0);
	return fd;
}

static void kill_while(void (*what)(void))
{
	int pidfds[MOST];
	pid_t criu;

	memset(shared, 0, sizeof(*shared));
	criu = fork();
	if (!criu) {
		what();
		for (;;)
			pause();
	}
	while (!shared->ready) {
		assert_int_equal(waitpid(criu, NULL, WNOHANG), 0);
		usleep(100);
	}
	for (size_t i = 0; i < shared->n; i++) {
		pidfds[i] = open_pidfd(shared->pids[i]);
		assert_int_equal(poll(&(struct pollfd) { .fd = pidfds[i], .events = POLLIN }, 1, 1), 0);
	}
	kill(criu, SIGKILL);
	assert_int_equal(waitpid(criu, NULL, 0), criu);
	for (size_t i = 0; i < shared->n; i++) {
		assert_int_equal(poll(&(struct pollfd) { .fd = pidfds[i], .events = POLLIN }, 1, 10000), 1);
		close(pidfds[i]);
	}
}

/* Orphans come to us, the subreaper. All of them end. */
static void all_orphans_end(void)
{
	for (int tries = 0; waitpid(-1, NULL, __WALL | WNOHANG) >= 0; tries++) {
		assert_true(tries < 100000);
		usleep(100);
	}
	assert_int_equal(errno, ECHILD);
	nothing_is_left();
}

static void all_kinds_of_executors(void **state)
{
	kill_while(start_many);
	assert_int_equal(shared->n, 5);
	all_orphans_end();
}

static void in_the_middle_of_a_call(void **state)
{
	kill_while(call_without_end);
	all_orphans_end();
}

static void without_a_death_signal(void **state)
{
	kill_while(with_a_guardian);
	kill(shared->pids[MOST - 1], SIGKILL);
	all_orphans_end();
}

static void killed_at_any_instant(void **state)
{
	for (int i = 0; i < 100; i++) {
		pid_t criu = fork();

		if (!criu)
			for (;;) {
				memset(shared, 0, sizeof(*shared));
				start_many();
			}
		usleep((useconds_t)(i * 97 % 5000));
		kill(criu, SIGKILL);
		assert_int_equal(waitpid(criu, NULL, 0), criu);
	}
	all_orphans_end();
}

static int set_up(void **state)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return shared == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds_of_executors),
		cmocka_unit_test(in_the_middle_of_a_call),
		cmocka_unit_test(without_a_death_signal),
		cmocka_unit_test(killed_at_any_instant),
	};

	log_init(-1, 0);
	own_descriptors = descriptors_of_ours();
	return cmocka_run_group_tests(tests, set_up, NULL);
}
