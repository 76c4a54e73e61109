/* SPDX-License-Identifier: GPL-2.0-only */
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "task/timer_stale.h"

#define PROBE_SIGNAL SIGUSR2

static bool is_pending(void)
{
	sigset_t set;

	return !sigpending(&set) && sigismember(&set, PROBE_SIGNAL);
}

static bool set_seconds(timer_t timer, time_t sec, long nsec)
{
	return !timer_settime(timer, 0, &(struct itimerspec) { .it_value = { sec, nsec } }, NULL);
}

/* A timer of criu's own expires, and is armed again; then its signal is taken. */
static bool probe_timer(timer_t timer, const sigset_t *set)
{
	static const struct timespec tick = { .tv_nsec = 10000 }, none;
	bool ok = set_seconds(timer, 0, 1);

	for (int i = 0; ok && !is_pending() && i < 1000; i++)
		nanosleep(&tick, NULL);
	ok = ok && is_pending() && set_seconds(timer, 1000, 0);
	return sigtimedwait(set, NULL, &none) != PROBE_SIGNAL && ok;
}

bool timer_stale_is_dropped(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PROBE_SIGNAL };
	sigset_t set, old;
	timer_t timer;
	bool dropped;

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &ev, &timer))
		return false;
	sigemptyset(&set);
	sigaddset(&set, PROBE_SIGNAL);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	dropped = probe_timer(timer, &set);
	timer_delete(timer);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return dropped;
}
