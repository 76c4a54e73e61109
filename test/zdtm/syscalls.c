/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks in the middle of a system call: it goes on, or returns EINTR where only the kernel's memory of it could go on
 * (nanosleep, poll with a timeout, futex with a timeout). Nothing else may be seen.
 *
 * zdtm: restores 2
 * zdtm: allow status/SigBlk  any  sigtimedwait() lifts the mask while it waits, and has returned EINTR
 * zdtm: allow stat/32  any  sigtimedwait() lifts the mask while it waits, and has returned EINTR
 */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/select.h>

#include "zdtm.h"

enum { READ, WRITE, SLEEP, SLEEP_ABS, POLL, POLL_FOREVER, SELECT, FUTEX, FUTEX_TIMED, WAIT4, SIGSUSPEND, SIGWAIT, N };

static const char *const names[N] = { "read",         "write",    "nanosleep",  "clock_nanosleep(abs)",
	                              "poll",         "poll(-1)", "select",     "futex",
	                              "futex(timed)", "wait4",    "sigsuspend", "sigtimedwait" };
static int rd[2], wr[2], never[2], word, done[N];
static pid_t kid;
static pthread_t th[N];

static void handler(int sig)
{
}

/* Does it; returns whether the answer is one that the call may give. Called before anybody has finished it: wrong. */
static int call(int i)
{
	struct timespec ts = { .tv_sec = 1000 };
	struct pollfd pfd = { .fd = never[0], .events = POLLIN };
	static char buf[65536];
	sigset_t set;
	fd_set fds;
	long r;

	switch (i) {
	case READ:
		return read(rd[0], buf, 10) == 3;
	case WRITE:
		return write(wr[1], buf, sizeof(buf)) > 0;
	case SLEEP:
		return (r = nanosleep(&ts, &ts)) == -1 && errno == EINTR;
	case SLEEP_ABS:
		clock_gettime(CLOCK_MONOTONIC, &ts);
		ts.tv_sec += 1000;
		return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR;
	case POLL:
		return poll(&pfd, 1, 1000000) == 1 || errno == EINTR;
	case POLL_FOREVER:
		return poll(&pfd, 1, -1) == 1 || errno == EINTR;
	case SELECT:
		FD_ZERO(&fds);
		FD_SET(never[0], &fds);
		return select(never[0] + 1, &fds, NULL, NULL, NULL) == 1 || errno == EINTR;
	case FUTEX:
		r = syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0);
		return r == 0 || errno == EINTR || errno == EAGAIN;
	case FUTEX_TIMED:
		r = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0);
		return r == 0 || errno == EINTR || errno == EAGAIN;
	case WAIT4:
		return waitpid(kid, NULL, __WALL) == kid;
	case SIGSUSPEND:
		sigfillset(&set);
		sigdelset(&set, SIGUSR1);
		return sigsuspend(&set) == -1 && errno == EINTR;
	default:
		sigemptyset(&set);
		sigaddset(&set, SIGUSR2);
		r = sigtimedwait(&set, NULL, &ts);
		return r == SIGUSR2 || (r == -1 && errno == EINTR);
	}
}

static void *thread(void *arg)
{
	int i = (long)arg, ok = call(i), e = errno;

	zdtm_check(ok, "%s: not what it may return (%s)", names[i], strerror(e));
	/* Only a call with a restart block may end by itself. */
	if (access(zdtm_path("verify"), F_OK))
		zdtm_check(i == SLEEP || i == POLL || i == FUTEX_TIMED || i == SIGWAIT, "%s ended by itself", names[i]);
	zdtm_wait(); /* those too that returned EINTR after the restore */
	done[i] = 1;
	return NULL;
}

int main(void)
{
	sigset_t set;
	char buf[4096];
	int left = 1;

	signal(SIGUSR1, handler);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	zdtm_must(!pipe(rd) && !pipe(wr) && !pipe(never) && write(wr[1], buf, 4096) == 4096);
	for (int i = 0; i < 15; i++)
		zdtm_must(write(wr[1], buf, 4096) == 4096);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		_exit(0);
	}
	for (long i = 0; i < N; i++)
		zdtm_must(!pthread_create(&th[i], NULL, thread, (void *)i));
	usleep(50000);
	zdtm_ready();
	zdtm_wait();
	usleep(100000);
	word = 1;
	zdtm_check(write(rd[1], "abc", 3) == 3 && write(never[1], "x", 1) == 1, "pipes");
	for (int i = 0; i < 6000 && left; i++) {
		left = 0;
		for (int k = 0; k < N; k++)
			left += !done[k] && k != SLEEP && k != SLEEP_ABS;
		if (!done[WRITE])
			zdtm_check(read(wr[0], buf, 4096) == 4096, "draining");
		syscall(SYS_futex, &word, FUTEX_WAKE, 100, NULL, NULL, 0);
		if (!done[SIGSUSPEND])
			pthread_kill(th[SIGSUSPEND], SIGUSR1);
		if (!done[SIGWAIT])
			pthread_kill(th[SIGWAIT], SIGUSR2);
		zdtm_nap();
	}
	for (int i = 0; i < N; i++)
		zdtm_check(done[i] || i == SLEEP || i == SLEEP_ABS, "%s never ended", names[i]);
	zdtm_pass();
}
