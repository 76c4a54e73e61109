/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Thin wrappers of ptrace(2): each returns 0 or a negative errno and logs nothing, since -ESRCH often is no error.
 */
#ifndef CRIU_FREEZE_PTRACE_H
#define CRIU_FREEZE_PTRACE_H

#include <signal.h>

#include "common.h"

int ptrace_seize(pid_t tid, unsigned long options);
int ptrace_interrupt(pid_t tid);
int ptrace_set_options(pid_t tid, unsigned long options);
int ptrace_cont(pid_t tid, int sig);
int ptrace_to_syscall(pid_t tid); /* PTRACE_SYSCALL: on to the next entry to or exit from a system call */
int ptrace_listen(pid_t tid);
int ptrace_detach(pid_t tid, int sig);
bool ptrace_is_stopped(pid_t tid); /* it is traced by this thread, and in a stop */
int ptrace_get_sigmask(pid_t tid, uint64_t *mask);
int ptrace_set_sigmask(pid_t tid, uint64_t mask);

/* PTRACE_GETREGSET and PTRACE_SETREGSET of a note type; *len in: size of the buffer, out: bytes there. */
int ptrace_get_regset(pid_t tid, int note, void *buf, size_t *len);
int ptrace_set_regset(pid_t tid, int note, const void *buf, size_t len);

/*
 * Waits for a stop of tid. Returns 0 with waitpid's status, -ETIMEDOUT after timeout_ms (-1: never), -ECHILD when it is
 * gone, -ESRCH when it exited (status set). __WALL.
 */
int ptrace_wait(pid_t tid, int timeout_ms, int *status);

/*
 * Detaches one that is stopped. Where it has been killed before, its end is waited for (a second at most): a thread
 * of its process that was let go before may be in execve(), which waits until its tracer has. A leader's end is
 * nobody's concern. 0 also when it was killed; a negative errno.
 */
int ptrace_let_go(pid_t tid, bool leader);

/* The event of a ptrace stop (PTRACE_EVENT_STOP, ...) or 0; the stop signal. */
static inline int stop_event(int status)
{
	return (status >> 16) & 0xff;
}

#endif
