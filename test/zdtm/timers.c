/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interval timers (time left and interval) and POSIX timers with sparse ids: clocks, signals, values, intervals, an
 * armed one-shot, a disarmed one, one for a thread (SIGEV_THREAD_ID).
 *
 * zdtm: restores 2
 * zdtm: flavour ns
 */
#include <sys/time.h>

#include "zdtm.h"

#define N 12

static volatile int hits, value;

static void handler(int sig, siginfo_t *si, void *ctx)
{
	hits++;
	value = si->si_value.sival_int;
}

/* The kernel's timers, not glibc's: it has ids. */
static int create(clockid_t clock, int notify, int sig, int val)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_int = val };
	int id;

	ev._sigev_un._tid = syscall(SYS_gettid);
	zdtm_must(!syscall(SYS_timer_create, clock, &ev, &id));
	return id;
}

static long long left(struct timespec *ts)
{
	return ts->tv_sec * 1000000000LL + ts->tv_nsec;
}

int main(void)
{
	struct itimerval real = { { 5, 250000 }, { 1000, 0 } }, virt = { { 7, 0 }, { 500, 0 } }, now;
	struct itimerspec t = { { 3, 5 }, { 2000, 0 } };
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO };
	int ids[N], soon;

	sigaction(SIGRTMIN + 2, &sa, NULL);
	zdtm_must(!setitimer(ITIMER_REAL, &real, NULL) && !setitimer(ITIMER_VIRTUAL, &virt, NULL));
	for (int i = 0; i < N; i++)
		ids[i] = create(i % 3 ? CLOCK_MONOTONIC : CLOCK_REALTIME, i % 4 ? SIGEV_SIGNAL : SIGEV_NONE,
		                SIGRTMIN + i, 1000 + i);
	for (int i = 0; i < N; i++) {
		t.it_value.tv_sec = 2000 + i;
		if (i % 5)
			zdtm_must(!syscall(SYS_timer_settime, ids[i], 0, &t, NULL));
		if (i % 2 == 0 || i == 7)
			zdtm_must(!syscall(SYS_timer_delete, ids[i]));
	}
	soon = create(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGRTMIN + 2, 4711);
	zdtm_ready();
	zdtm_wait();
	getitimer(ITIMER_REAL, &now);
	zdtm_check(now.it_interval.tv_sec == 5 && now.it_interval.tv_usec == 250000, "ITIMER_REAL's interval");
	zdtm_check(now.it_value.tv_sec > 940 && now.it_value.tv_sec <= 1000, "ITIMER_REAL: %ld s", now.it_value.tv_sec);
	getitimer(ITIMER_VIRTUAL, &now);
	zdtm_check(now.it_interval.tv_sec == 7 && now.it_value.tv_sec >= 499, "ITIMER_VIRTUAL: %ld",
	           now.it_value.tv_sec);
	getitimer(ITIMER_PROF, &now);
	zdtm_check(!now.it_value.tv_sec && !now.it_value.tv_usec, "ITIMER_PROF is armed");
	for (int i = 0; i < N; i++) {
		struct itimerspec is;
		long r = syscall(SYS_timer_gettime, ids[i], &is);

		if (i % 2 == 0 || i == 7) {
			zdtm_check(r == -1 && errno == EINVAL, "timer id %d exists", ids[i]);
			continue;
		}
		zdtm_check(!r, "timer id %d is lost", ids[i]);
		zdtm_check(i % 5 ? is.it_interval.tv_sec == 3 && is.it_interval.tv_nsec == 5 : !left(&is.it_interval),
		           "timer %d: interval %ld.%ld", ids[i], is.it_interval.tv_sec, is.it_interval.tv_nsec);
		zdtm_check(i % 5 ? is.it_value.tv_sec > 1900 && is.it_value.tv_sec <= 2000 + i : !left(&is.it_value),
		           "timer %d: %ld s left", ids[i], is.it_value.tv_sec);
	}
	t = (struct itimerspec) { { 0, 0 }, { 0, 1000000 } };
	zdtm_check(!syscall(SYS_timer_settime, soon, 0, &t, NULL), "the thread's timer");
	for (int i = 0; i < 6000 && !hits; i++)
		zdtm_nap();
	zdtm_check(hits == 1 && value == 4711, "the timer's signal: %d with %d", hits, value);
	zdtm_check(create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0) > soon, "the next id is not a new one");
	zdtm_pass();
}
