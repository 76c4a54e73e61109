/* SPDX-License-Identifier: GPL-2.0-only */
/* Parsers and readers of /proc, and the lookups in a tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/arena.h"
#include "proc/proc.h"
#include "tree/task.h"

#define TAIL                                                                                                           \
	" S 1 2 3 34816 5 4194560 7 8 9 10 11 12 13 14 20 -5 17 0 1234567 19 20 18446744073709551615 21 22 23 24 25 "  \
	"26 27 28 29 30 31 32 17 1 99 2 36 37 38 39 40 41 42 43 44 45 9"

static int setup(void **state)
{
	*state = arena_new();
	return *state ? 0 : 1;
}

static int teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static int stat_of(const char *text, struct proc_stat *st)
{
	/* A copy without a zero at its end: AddressSanitizer sees a read behind it. */
	size_t len = strlen(text);
	char *copy = malloc(len ?: 1);
	int err;

	memcpy(copy, text, len);
	err = proc_parse_stat(copy, len, st);
	free(copy);
	return err;
}

static void test_stat(void **state)
{
	struct proc_stat st;

	assert_int_equal(stat_of("812 (redis)" TAIL, &st), 0);
	assert_string_equal(st.comm, "redis");
	assert_int_equal(st.pid, 812);
	assert_int_equal(st.state, 'S');
	assert_int_equal(st.ppid, 1);
	assert_int_equal(st.pgrp, 2);
	assert_int_equal(st.session, 3);
	assert_int_equal(st.tty_nr, 34816);
	assert_int_equal(st.flags, 4194560);
	assert_int_equal(st.nice, -5);
	assert_int_equal(st.num_threads, 17);
	assert_int_equal(st.start_time, 1234567);
	assert_int_equal(st.exit_signal, 17);
	assert_int_equal(st.rt_priority, 99);
	assert_int_equal(st.policy, 2);
	assert_int_equal(st.arg_start, 42);
	assert_int_equal(st.env_end, 45);
	assert_int_equal(st.exit_code, 9);
}

static void test_stat_names(void **state)
{
	struct proc_stat st;

	assert_int_equal(stat_of("1 (a) R 1 (b)" TAIL "\n", &st), 0);
	assert_string_equal(st.comm, "a) R 1 (b");
	assert_int_equal(stat_of("1 ()" TAIL, &st), 0);
	assert_string_equal(st.comm, "");
	assert_int_equal(stat_of("1 (\n\n) )" TAIL, &st), 0);
	assert_string_equal(st.comm, "\n\n) ");
	assert_int_equal(stat_of("1 (a kernel thread with a name)" TAIL, &st), 0);
	assert_int_equal(strlen(st.comm), 15);
}

static void test_stat_damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"1",
		"1 ",
		"1 (",
		"1 )",
		"1 (a",
		"1 (a)",
		"1 (a) ",
		"1 (a) S",
		"1 (a) S 1 2 3",
		"x (a)" TAIL,
		"99999999999 (a)" TAIL,
		"1 (a) S 99999999999 1",
		"1 (a) 7 1 1",
		"1 )a(" TAIL,
	};
	struct proc_stat st;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(stat_of(bad[i], &st), -EBADMSG);
}

static const char status_text[] =
    "Name:\tevil\\nTgid:\t7\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t812\nNgid:\t0\n"
    "Pid:\t813\nPPid:\t1\nTracerPid:\t5\nUid:\t0\t1\t2\t3\nGid:\t4\t5\t6\t4294967295\n"
    "FDSize:\t64\nGroups:\t4 24 1000 \nNStgid:\t812\t1\nNSpid:\t813\t2\nNSpgid:\t700\t0\n"
    "NSsid:\t700\t0\nVmPeak:\t  100 kB\nThreads:\t2\nSigQ:\t0/1\nSigPnd:\t0000000000000001\n"
    "SigBlk:\tfffffffe7ffbfeff\nCapEff:\t000001ffffffffff\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    "Seccomp_filters:\t3\nA line without one\nNew_key:\t:::\n";

static void test_status(void **state)
{
	static const uint32_t groups[] = { 4, 24, 1000 };
	struct proc_status st;

	assert_int_equal(proc_parse_status(status_text, sizeof(status_text) - 1, *state, &st), 0);
	assert_int_equal(st.tgid, 812);
	assert_int_equal(st.pid, 813);
	assert_int_equal(st.tracer, 5);
	assert_true(st.has_umask && st.umask == 022);
	assert_int_equal(st.uid[3], 3);
	assert_true(st.gid[3] == UINT32_MAX);
	assert_int_equal(st.n_groups, 3);
	assert_memory_equal(st.groups, groups, sizeof(groups));
	assert_int_equal(st.ns_pid.levels, 2);
	assert_int_equal(st.ns_pid.ours, 813);
	assert_int_equal(st.ns_pid.inner, 2);
	assert_int_equal(st.ns_pgid.inner, 0);
	assert_int_equal(st.threads, 2);
	assert_true(st.sig_blocked == 0xfffffffe7ffbfeffULL && st.sig_pending == 1);
	assert_true(st.cap_eff == 0x1ffffffffffULL && st.has_seccomp);
	assert_int_equal(st.seccomp, 2);
	assert_int_equal(st.seccomp_filters, 3);
	assert_int_equal(st.no_new_privs, 1);
}

static void test_status_damaged(void **state)
{
	static const char *const bad[] = {
		"",
		"Tgid:\t1\n",
		"Pid:\t1\n",
		"Tgid:\t1\nPid:\t-1\n",
		"Tgid:\t1\nPid:\t1\nPid:\t1\n",
		"Tgid:\t1\nPid:\t1\nUid:\t1 2 3\n",
		"Tgid:\t1\nPid:\t1\nUmask:\t0888\n",
		"Tgid:\t1\nPid:\t1\nNSpid:\t\n",
		"Tgid:\t1\nPid:\t1\nCapEff:\t11112222333344445\n",
		"Tgid:\t1\nPid:\t1\nGroups:\t1 x\n",
		"Tgid:\t1\nPid:\t1\nNSpid:\t-3\n",
	};
	struct proc_status st;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(proc_parse_status(bad[i], strlen(bad[i]), *state, &st), -EBADMSG);
	for (size_t len = 0; len < sizeof(status_text); len++)
		(void)proc_parse_status(status_text, len, *state, &st);
}

static void test_pid_list(void **state)
{
	pid_t *pids = NULL;
	size_t n = 0;

	assert_int_equal(proc_parse_pid_list("12 13 4194303 ", 14, *state, &pids, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(pids[2], 4194303);
	assert_int_equal(proc_parse_pid_list("", 0, *state, &pids, &n), 0);
	assert_int_equal(n, 3);
	assert_int_equal(proc_parse_pid_list("0", 1, *state, &pids, &n), -EBADMSG);
	assert_int_equal(proc_parse_pid_list("7 -7", 4, *state, &pids, &n), -EBADMSG);
}

static void *wait_forever(void *arg)
{
	prctl(PR_SET_NAME, "x ) R (\n");
	write(*(int *)arg, "", 1);
	pause();
	return NULL;
}

static void test_readers(void **state)
{
	pid_t *tids = NULL, *children = NULL, child;
	_cleanup_close_ int fd = proc_open(getpid());
	size_t n = 0, n_children = 0;
	struct proc_status status;
	struct proc_stat st;
	pthread_t thread;
	siginfo_t info;
	int fds[2];
	char c;

	assert_true(fd >= 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_forever, &fds[1]), 0);
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(proc_read_threads(fd, *state, &tids, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(tids[0], getpid());
	assert_int_equal(proc_read_stat(fd, tids[1], &st), 0);
	assert_string_equal(st.comm, "x ) R (\n");
	assert_int_equal(st.pid, tids[1]);
	assert_int_equal(proc_read_status(fd, tids[1], *state, &status), 0);
	assert_int_equal(status.pid, tids[1]);
	assert_int_equal(status.tgid, getpid());
	child = fork();
	if (child == 0)
		_exit(7);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_read_children(fd, getpid(), *state, &children, &n_children), 0);
	assert_int_equal(n_children, 1);
	assert_int_equal(children[0], child);
	assert_int_equal(proc_stat_of(child, &st), 0);
	assert_int_equal(st.state, 'Z');
	assert_int_equal(st.exit_code, 7 << 8);
	assert_false(proc_alive(child));
	assert_int_equal(proc_wait_gone(child), 0);
	assert_int_equal(proc_start_time(child), 0);
	assert_int_equal(waitpid(child, NULL, 0), -1);
	assert_true(proc_alive(getpid()) && proc_start_time(getpid()));
	assert_int_equal(proc_ppid(getpid()), getppid());
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

/* ---- a listing that signals cut short ---- */

#define MANY 3000

static pthread_barrier_t all_began;

static void *sleep_in_thread(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_barrier_wait(&all_began);
	for (;;)
		pause();
	return NULL;
}

static void make_many_threads(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 << 10);
	pthread_barrier_init(&all_began, NULL, MANY + 1);
	for (int i = 0; i < MANY; i++)
		if (pthread_create(&t, &attr, sleep_in_thread, NULL))
			_exit(1);
	pthread_barrier_wait(&all_began);
}

static void on_alarm(int sig)
{
}

static void test_signals_while_listing(void **state)
{
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (!pid) {
		make_many_threads();
		if (write(ready[1], "r", 1) == 1)
			pause();
		_exit(1);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	signal(SIGALRM, on_alarm);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (int i = 0; i < 100; i++) {
		struct arena *a = arena_new();
		_cleanup_close_ int fd = proc_open(pid);
		pid_t *tids = NULL;
		size_t n = 0;

		assert_int_equal(proc_read_threads(fd, a, &tids, &n), 0);
		assert_int_equal(n, MANY + 1);
		arena_free(a);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(ready[0]);
	close(ready[1]);
}

static void test_lookups(void **state)
{
	enum { TASKS = 5 };
	static const uint32_t vm[TASKS] = { 1, 2, 1, 0, 2 };
	struct task tasks[TASKS] = { 0 }, *all[TASKS];
	struct thread threads[TASKS][2] = { 0 };
	TaskKobjIdsEntry ids[TASKS];
	struct tree tree = { .tasks = all, .n_tasks = TASKS };

	for (int i = 0; i < TASKS; i++) {
		task_kobj_ids_entry__init(&ids[i]);
		ids[i].vm_id = vm[i];
		ids[i].files_id = (uint32_t)i + 1;
		all[i] = &tasks[i];
		threads[i][0] = (struct thread) { .task = &tasks[i], .vtid = VPID(10 * (i + 1)) };
		threads[i][1] = (struct thread) { .task = &tasks[i], .vtid = VPID(10 * (i + 1) + 1) };
		tasks[i] = (struct task) { .vpid = VPID(10 * (i + 1)),
			                   .state = TASK_ALIVE,
			                   .threads = threads[i],
			                   .n_threads = 2,
			                   .ids = &ids[i],
			                   .comm = "fifteen bytes !" };
	}
	tasks[3].ids = NULL;
	tasks[3].state = TASK_DEAD;
	for (int indexed = 0; indexed < 2; indexed++) {
		assert_ptr_equal(tree_find(&tree, VPID(41)), &tasks[3]);
		assert_ptr_equal(tree_find(&tree, VPID(10)), &tasks[0]);
		assert_null(tree_find(&tree, VPID(42)));
		assert_null(tree_find(&tree, VPID(0)));
		assert_ptr_equal(tree_first_vm(&tree, &tasks[2]), &tasks[0]);
		assert_ptr_equal(tree_first_vm(&tree, &tasks[4]), &tasks[1]);
		assert_ptr_equal(tree_first_vm(&tree, &tasks[3]), &tasks[3]);
		assert_ptr_equal(tree_first_files(&tree, &tasks[4]), &tasks[4]);
		tree_index(&tree, *state);
	}
	assert_string_equal(task_name(&tasks[1]), "pid 20 (fifteen bytes !)");
	assert_string_equal(task_thread_name(&threads[1][0]), "pid 20 (fifteen bytes !)");
	assert_string_equal(task_thread_name(&threads[1][1]), "pid 20 (fifteen bytes !) thread 21");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stat),
		cmocka_unit_test(test_stat_names),
		cmocka_unit_test(test_stat_damaged),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_damaged),
		cmocka_unit_test(test_pid_list),
		cmocka_unit_test(test_readers),
		cmocka_unit_test(test_lookups),
		cmocka_unit_test(test_signals_while_listing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
