/* SPDX-License-Identifier: GPL-2.0-only */
#include <elf.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "arch/arch_abi.h"
#include "freeze/ptrace.h"
#include "lib/clock.h"

/*
 * A stop is told by SIGCHLD. Where that is lost (ignored by the parent of criu, or taken by another thread) the
 * wait looks again after this time.
 */
#define WAIT_SLICE_MS 10

/* So long a stop is looked for before criu sleeps. */
#define BRIEF_US      40

/* How long one that has been killed may take to end. */
#define DYING_MS      1000

static int ptrace_request(long what, pid_t tid, unsigned long addr, unsigned long data)
{
	return ptrace((enum __ptrace_request)what, tid, addr, data) < 0 ? -errno : 0;
}

int ptrace_seize(pid_t tid, unsigned long options)
{
	return ptrace_request(PTRACE_SEIZE, tid, 0, options);
}

int ptrace_interrupt(pid_t tid)
{
	return ptrace_request(PTRACE_INTERRUPT, tid, 0, 0);
}

int ptrace_set_options(pid_t tid, unsigned long options)
{
	return ptrace_request(PTRACE_SETOPTIONS, tid, 0, options);
}

int ptrace_cont(pid_t tid, int sig)
{
	return ptrace_request(PTRACE_CONT, tid, 0, (unsigned long)sig);
}

int ptrace_to_syscall(pid_t tid)
{
	return ptrace_request(PTRACE_SYSCALL, tid, 0, 0);
}

int ptrace_listen(pid_t tid)
{
	return ptrace_request(PTRACE_LISTEN, tid, 0, 0);
}

int ptrace_detach(pid_t tid, int sig)
{
	return ptrace_request(PTRACE_DETACH, tid, 0, (unsigned long)sig);
}

bool ptrace_is_stopped(pid_t tid)
{
	unsigned long message;

	return ptrace_request(PTRACE_GETEVENTMSG, tid, 0, (unsigned long)&message) == 0;
}

int ptrace_get_sigmask(pid_t tid, uint64_t *mask)
{
	/* The size of the mask is passed as the address. */
	return ptrace_request(PTRACE_GETSIGMASK, tid, ARCH_SIGSET_SIZE, (unsigned long)mask);
}

int ptrace_set_sigmask(pid_t tid, uint64_t mask)
{
	return ptrace_request(PTRACE_SETSIGMASK, tid, ARCH_SIGSET_SIZE, (unsigned long)&mask);
}

int ptrace_get_regset(pid_t tid, int note, void *buf, size_t *len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = *len };
	int err = ptrace_request(PTRACE_GETREGSET, tid, (unsigned long)note, (unsigned long)&iov);

	if (!err)
		*len = iov.iov_len;
	return err;
}

int ptrace_set_regset(pid_t tid, int note, const void *buf, size_t len)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };

	return ptrace_request(PTRACE_SETREGSET, tid, (unsigned long)note, (unsigned long)&iov);
}

/* 1: a status was read; 0: no status yet; or a negative errno. */
static int try_wait(pid_t tid, int flags, int *status)
{
	pid_t pid;

	do {
		pid = waitpid(tid, status, flags | __WALL);
	} while (pid < 0 && errno == EINTR);
	if (pid < 0)
		return -errno;
	if (pid == 0)
		return 0;
	return WIFSTOPPED(*status) ? 1 : -ESRCH;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* SIGCHLD is blocked: what comes between a look and the sleep ends the sleep. */
static int wait_until(pid_t tid, int64_t deadline, const sigset_t *chld, int *status)
{
	for (;;) {
		int err = try_wait(tid, WNOHANG, status);
		int64_t left = deadline - now_ms();
		struct timespec slice = { .tv_nsec = MIN(left, WAIT_SLICE_MS) * 1000000L };

		if (err)
			return err;
		if (left <= 0)
			return -ETIMEDOUT;
		sigtimedwait(chld, NULL, &slice);
	}
}

/* Most stops come before this thread could sleep and be woken. */
static int look_briefly(pid_t tid, int *status)
{
	uint64_t until = clock_now_us() + BRIEF_US;
	int err;

	do
		err = try_wait(tid, WNOHANG, status);
	while (!err && clock_now_us() < until);
	return err;
}

int ptrace_wait(pid_t tid, int timeout_ms, int *status)
{
	sigset_t chld, old;
	int err = timeout_ms > 0 ? look_briefly(tid, status) : try_wait(tid, timeout_ms < 0 ? 0 : WNOHANG, status);

	if (err)
		return MIN(err, 0);
	if (timeout_ms == 0)
		return -ETIMEDOUT;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &chld, &old);
	err = wait_until(tid, now_ms() + timeout_ms, &chld, status);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return MIN(err, 0);
}

int ptrace_let_go(pid_t tid, bool leader)
{
	int status, err = ptrace_detach(tid, 0);

	if (err == -ESRCH && !leader)
		while (ptrace_wait(tid, DYING_MS, &status) == 0)
			;
	return err == -ESRCH ? 0 : err;
}
