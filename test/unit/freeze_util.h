/* SPDX-License-Identifier: GPL-2.0-only */
/* What the tests of freezing share: victims, and looking at them. */
#ifndef TEST_UNIT_FREEZE_UTIL_H
#define TEST_UNIT_FREEZE_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "freeze/freeze.h"
#include "lib/arena.h"
#include "lib/log.h"
#include "proc/proc.h"

static inline void nap(long us)
{
	nanosleep(&(struct timespec) { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 }, NULL);
}

static inline double seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static inline void *share(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	return p;
}

/* A fork that dies with its parent, also with one that is dead already (which the first of a namespace cannot see). */
static inline pid_t child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0 && (prctl(PR_SET_PDEATHSIG, SIGKILL) || (getppid() && getppid() != parent)))
		_exit(1);
	return pid;
}

/* A child that runs fn in a session of its own. */
static inline pid_t spawn(void (*fn)(void *arg), void *arg)
{
	pid_t pid = child();

	assert_true(pid >= 0);
	if (pid == 0) {
		setsid();
		fn(arg);
		_exit(0);
	}
	return pid;
}

static inline char state_of(pid_t pid)
{
	struct proc_stat st;

	return proc_stat_of(pid, &st) ? '-' : st.state;
}

static inline void wait_state(pid_t pid, char state)
{
	for (int i = 0; i < 60000 && state_of(pid) != state; i++)
		nap(1000);
	assert_int_equal(state_of(pid), state);
}

/* A counter that somebody increments goes on. */
static inline void wait_progress(const volatile unsigned *counter)
{
	unsigned from = *counter;

	for (int i = 0; i < 60000 && *counter == from; i++)
		nap(1000);
	assert_true(*counter != from);
}

static inline void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, __WALL), pid);
}

static inline int freeze(struct arena *a, pid_t root, struct tree *tree)
{
	return freeze_tree(&(const struct options) { .timeout = 10 }, NULL, a, root, tree);
}

static inline int arena_setup(void **state)
{
	*state = arena_new();
	return *state == NULL;
}

static inline int arena_teardown(void **state)
{
	arena_free(*state);
	return 0;
}

#endif
