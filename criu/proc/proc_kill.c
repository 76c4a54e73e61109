/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of a program with all that it has started, which the kernel has no call for. */
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "proc/proc.h"

#define CLEANS_UP_MS 200 /* after SIGTERM */
/* After SIGKILL, which is followed when the process has a CPU for a moment. */
#define ENDS_MS      5000

void proc_add_children(struct arena *a, pid_t pid, pid_t **pids, size_t *n)
{
	_cleanup_close_ int proc = proc_open(pid);
	pid_t *tids = NULL;
	size_t n_tids = 0;

	if (proc < 0 || proc_read_threads(proc, a, &tids, &n_tids))
		return;
	for (size_t i = 0; i < n_tids; i++)
		if (proc_read_children(proc, tids[i], a, pids, n))
			return;
}

/* From each process that lives on from here, to what it has started. The list grows while it is read. */
static void signal_below(struct arena *a, pid_t **pids, size_t *n, int sig)
{
	for (size_t i = 0; i < *n; i++) {
		if (sig == SIGKILL)
			kill((*pids)[i], SIGSTOP); /* what stands still starts nothing behind our back */
		proc_add_children(a, (*pids)[i], pids, n);
	}
	for (size_t i = 0; i < *n; i++)
		kill((*pids)[i], sig);
}

static bool all_ended(const pid_t *pids, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (proc_alive(pids[i]))
			return false;
	return true;
}

/* What ^C at a terminal leaves of a shell's script: the shell has ended, what stands behind an & in it ignores the key.
 */
static void add_fallen(struct arena *a, pid_t subreaper, uint64_t since, pid_t **pids, size_t *n)
{
	pid_t *children = NULL;
	size_t n_children = 0;

	proc_add_children(a, subreaper, &children, &n_children);
	for (size_t i = 0; i < n_children; i++)
		if (children[i] != getpid() && proc_alive(children[i]) && proc_start_time(children[i]) >= since)
			arena_push(a, pids, n, children[i]);
}

static void await_ends(const pid_t *pids, size_t n, int ms)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	for (int i = 0; i < ms && !all_ended(pids, n); i++)
		nanosleep(&pause, NULL);
}

static void end_all(struct arena *a, pid_t **pids, size_t *n)
{
	signal_below(a, pids, n, SIGTERM);
	await_ends(*pids, *n, CLEANS_UP_MS);
	signal_below(a, pids, n, SIGKILL);
	await_ends(*pids, *n, ENDS_MS);
}

int proc_kill_below(pid_t pid, uint64_t start_time, pid_t subreaper)
{
	struct arena *a = arena_new();
	pid_t *pids = NULL;
	size_t n = 0;

	if (!a)
		return -ENOMEM;
	if (proc_start_time(pid) == start_time)
		arena_push(a, &pids, &n, pid);
	if (subreaper)
		add_fallen(a, subreaper, start_time, &pids, &n);
	if (n)
		end_all(a, &pids, &n);
	arena_free(a);
	return n ? 0 : -ESRCH;
}
