/* SPDX-License-Identifier: GPL-2.0-only */
/* Numbers of another pid namespace: as the kernel says them, and as /proc does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "helper/helper.h"
#include "proc/pid_ns.h"

static volatile int *said; /* the child's and the thread's number in there, when both exist */

static void *note_thread(void *arg)
{
	said[1] = (int)syscall(SYS_gettid);
	for (;;)
		pause();
	return NULL;
}

/* The init of a new namespace, with a child that has a thread. */
static int be_init(void)
{
	pid_t pid = fork();
	pthread_t t;

	if (!pid) {
		said[0] = getpid();
		pthread_create(&t, NULL, note_thread, NULL);
	}
	for (;;)
		pause();
	return 0;
}

static pid_t start_init(void)
{
	struct clone_args args = { .flags = CLONE_NEWPID, .exit_signal = SIGCHLD };
	pid_t pid;

	said = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (!pid)
		_exit(be_init());
	if (pid < 0)
		skip(); /* a pid namespace takes CAP_SYS_ADMIN */
	while (!said[1])
		usleep(1000);
	return pid;
}

static void both_ways_agree(void **state)
{
	pid_t init = start_init(), child, thread;
	int ns = pid_ns_open(init);

	assert_true(ns >= 0);
	assert_int_equal(pid_ns_ours(ns, 1, 0), init);
	child = pid_ns_ours(ns, said[0], init);
	thread = pid_ns_ours(ns, said[1], child);
	assert_true(child > 0 && thread > 0 && child != thread);
	assert_int_equal(pid_ns_ours_by_proc(ns, 1, init), init);
	assert_int_equal(pid_ns_ours_by_proc(ns, said[0], init), child);
	assert_int_equal(pid_ns_ours_by_proc(ns, said[0], 0), child);
	assert_int_equal(pid_ns_ours_by_proc(ns, said[1], child), thread);
	assert_int_equal(pid_ns_ours_by_proc(ns, said[1], 0), thread);
	assert_int_equal(pid_ns_ours(ns, 30000, 0), -ESRCH);
	assert_int_equal(pid_ns_ours_by_proc(ns, 30000, init), -ESRCH);
	kill(init, SIGKILL);
	waitpid(init, NULL, 0);
	close(ns);
}

struct in_there {
	pid_t pid, parent;
};

static int note_pid(void *arg)
{
	struct in_there *it = arg;

	it->pid = (pid_t)syscall(SYS_getpid);
	it->parent = (pid_t)syscall(SYS_getppid);
	return 7;
}

/* A helper with a number of its own in there, and one with any. */
static void helper_is_born_in_it(void **state)
{
	pid_t init = start_init();
	int ns = pid_ns_open(init);
	struct in_there it;
	struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES, .pid = 3000, .pid_ns = &ns };

	assert_int_equal(helper_run(&spec, note_pid, &it), 7);
	assert_int_equal(it.pid, 3000);
	assert_int_equal(it.parent, 0);
	spec.pid = said[0];
	assert_int_equal(helper_run(&spec, note_pid, &it), -EEXIST);
	spec.pid = 0;
	assert_int_equal(helper_run(&spec, note_pid, &it), 7);
	assert_true(it.pid > 1 && it.pid < 3002);
	kill(init, SIGKILL);
	waitpid(init, NULL, 0);
	close(ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways_agree),
		cmocka_unit_test(helper_is_born_in_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
