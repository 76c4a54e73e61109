/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The driver does its work in a thread of the process itself. When the tree stands still, that thread has to run; with
 * all signals blocked, so that it does nothing of the program's.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuda.h"

#define EVENT_STOP 128 /* PTRACE_EVENT_STOP of linux/ptrace.h, which <sys/ptrace.h> does not have */

static const uint64_t all_signals = ~0ULL;

static bool is_traced_here(pid_t tid)
{
	char path[48], line[128];
	int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (!tracer && fgets(line, sizeof(line), f))
		sscanf(line, "TracerPid: %d", &tracer);
	fclose(f);
	return tracer == getpid();
}

int cuda_thread_run(struct gpu *g)
{
	if (!is_traced_here(g->restore_tid))
		return 0;
	if (ptrace(PTRACE_GETSIGMASK, g->restore_tid, sizeof(g->mask), &g->mask))
		return -errno;
	g->masked = true;
	if (ptrace(PTRACE_SETSIGMASK, g->restore_tid, sizeof(all_signals), &all_signals) ||
	    ptrace(PTRACE_CONT, g->restore_tid, 0, 0))
		return -errno;
	return 0;
}

/* 1: it stands; 0: not yet; a negative errno. */
static int look_at_stop(pid_t tid)
{
	int status;
	pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (!got)
		return 0;
	if (!WIFSTOPPED(status))
		return -ESRCH;
	if (status >> 16 == EVENT_STOP)
		return 1;
	/* SIGSTOP, which cannot be blocked, or a fault of its own. */
	return ptrace(PTRACE_CONT, tid, 0, status >> 16 ? 0 : WSTOPSIG(status)) ? -errno : 0;
}

static int wait_stop(pid_t tid, unsigned limit_ms)
{
	const struct timespec pause = { .tv_nsec = 200000 };
	int seen = 0;

	for (uint64_t i = 0; !seen && i < limit_ms * 5ULL; i++) {
		seen = look_at_stop(tid);
		if (!seen)
			nanosleep(&pause, NULL);
	}
	return seen > 0 ? 0 : seen < 0 ? seen : -ETIMEDOUT;
}

int cuda_thread_stop(struct gpu *g, unsigned limit_ms)
{
	int err;

	if (!g->masked || !is_traced_here(g->restore_tid))
		return 0;
	if (ptrace(PTRACE_INTERRUPT, g->restore_tid, 0, 0))
		return -errno;
	err = wait_stop(g->restore_tid, limit_ms);
	if (!err && ptrace(PTRACE_SETSIGMASK, g->restore_tid, sizeof(g->mask), &g->mask))
		err = -errno;
	g->masked = err != 0;
	return err;
}

void cuda_thread_unmask(struct gpu *g)
{
	if (!g->masked || ptrace(PTRACE_SEIZE, g->restore_tid, 0, 0))
		return;
	if (!ptrace(PTRACE_INTERRUPT, g->restore_tid, 0, 0) && !wait_stop(g->restore_tid, 1000))
		ptrace(PTRACE_SETSIGMASK, g->restore_tid, sizeof(g->mask), &g->mask);
	ptrace(PTRACE_DETACH, g->restore_tid, 0, 0);
	g->masked = false;
}
