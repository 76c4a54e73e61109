/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Timers that expire at any moment, also just when criu looks: until the processor that a timer waits on has taken its
 * interrupt, the kernel shows it as one that nobody set. Each that expires is read and set again; none stops. Those
 * that were never set, and those that were read, stay silent.
 *
 * zdtm: iters 6
 * zdtm: allow fd [0-9]*ticks  any  its timers go on expiring
 */
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>

#include "zdtm.h"

#define N      2000
#define SILENT 100 /* more: never set, or expired and read */
#define NSEC   1000000000LL
#define SOON   1000000 /* ns: each timer expires after this and up to LATER more */
#define LATER  50000000

static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME };
static int fds[N + SILENT];
static long rounds[N + SILENT];

static long long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* One in three has an interval, one in two counts from now. */
static void set(int i)
{
	bool absolute = i % 2;
	long long when = SOON + rand() % LATER + (absolute ? now(clocks[i % 3]) : 0);
	struct itimerspec spec = { .it_value = { when / NSEC, when % NSEC } };

	if (i % 9 == 0)
		spec.it_interval.tv_sec = 3600;
	zdtm_must(!timerfd_settime(fds[i], absolute ? TFD_TIMER_ABSTIME : 0, &spec, NULL));
}

static void expired(int i)
{
	uint64_t ticks = 0;

	zdtm_must(read(fds[i], &ticks, sizeof(ticks)) == sizeof(ticks));
	zdtm_check(ticks == 1, "timer %d has expired %llu times", i, (unsigned long long)ticks);
	rounds[i]++;
	if (i < N)
		set(i);
}

static void go_on(int epoll)
{
	struct epoll_event events[64];
	int n = epoll_wait(epoll, events, 64, 100);

	zdtm_must(n >= 0 || errno == EINTR);
	for (int k = 0; k < n; k++)
		expired((int)events[k].data.u32);
}

/* Whether each has expired since. */
static bool all_went_on(const long *before)
{
	for (int i = 0; i < N; i++)
		if (rounds[i] == before[i])
			return false;
	return true;
}

int main(void)
{
	int epoll = epoll_create1(0);
	long before[N + SILENT];
	long long end;

	for (int i = 0; i < N + SILENT; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = (uint32_t)i };

		fds[i] = timerfd_create(clocks[i % 3], TFD_NONBLOCK);
		zdtm_must(fds[i] >= 0 && !epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event));
		if (i < N || i % 4)
			set(i);
	}
	for (int k = 0; k < 300; k++)
		go_on(epoll);
	zdtm_ready();
	while (access(zdtm_path("verify"), F_OK))
		go_on(epoll);
	memcpy(before, rounds, sizeof(rounds));
	end = now(CLOCK_MONOTONIC) + 20 * NSEC;
	while (!all_went_on(before) && now(CLOCK_MONOTONIC) < end)
		go_on(epoll);
	for (int i = 0; i < N; i++)
		zdtm_check(rounds[i] > before[i], "timer %d stands still", i);
	for (int i = N; i < N + SILENT; i++)
		zdtm_check(rounds[i] == (i % 4 != 0), "timer %d, which nobody set, has expired %ld times", i,
		           rounds[i]);
	zdtm_pass();
}
