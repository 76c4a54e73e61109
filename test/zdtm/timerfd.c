/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * timerfd: every clock; time left, interval, absolute, cancelled by a set clock; expirations that nobody has read, of
 * one that is over, of one that goes on, of one that runs out all the time; disarmed ones; and they go on expiring.
 *
 * Time that was left must not have grown, and must not have shrunk by more than the test has lasted.
 *
 * zdtm: restores 2
 * zdtm: allow fd [0-9]*ticks  any  timers go on expiring while nobody reads them
 * zdtm: no-userns sets a timer that wakes the machine
 */
#include <poll.h>
#include <sys/timerfd.h>

#include "zdtm.h"

#define HOUR   3600
#define CLOCKS 5

static const int clocks[CLOCKS] = { CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME_ALARM,
	                            CLOCK_BOOTTIME_ALARM };

static int make(int clock, int flags, long sec, long nsec, long isec, long insec)
{
	struct itimerspec spec = { { isec, insec }, { sec, nsec } };
	int fd = timerfd_create(clock, TFD_NONBLOCK);

	zdtm_must(fd >= 0 && !timerfd_settime(fd, flags, &spec, NULL));
	return fd;
}

/* The line behind a key of its fdinfo. */
static const char *shown(int fd, const char *key)
{
	static char line[200];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	zdtm_must(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) && strncmp(line, key, strlen(key)))
		;
	fclose(f);
	line[strcspn(line, "\n")] = 0;
	return line + strlen(key) + 2;
}

static uint64_t ticks(int fd)
{
	uint64_t v = 0;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

static long long left(int fd)
{
	struct itimerspec spec = { 0 };

	zdtm_must(!timerfd_gettime(fd, &spec));
	return spec.it_value.tv_sec * 1000000000LL + spec.it_value.tv_nsec;
}

static long long now(int clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	zdtm_must(poll(&p, 1, -1) == 1);
}

int main(void)
{
	int rel[CLOCKS], absolute[CLOCKS], over, expired, all_the_time, next, disarmed, fresh, cancel, blocking;
	long long started = now(CLOCK_BOOTTIME), before, lasted, r, a;
	struct itimerspec spec = { 0 };

	for (int i = 0; i < CLOCKS; i++) {
		rel[i] = make(clocks[i], 0, HOUR, 0, 7, 5);
		absolute[i] = make(clocks[i], TFD_TIMER_ABSTIME,
		                   now(clocks[i] == CLOCK_REALTIME_ALARM   ? CLOCK_REALTIME
		                       : clocks[i] == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME
		                                                           : clocks[i]) /
		                           1000000000 +
		                       HOUR,
		                   0, 0, 0);
	}
	cancel = make(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET,
	              now(CLOCK_REALTIME) / 1000000000 + HOUR, 0, 0, 0);
	over = make(CLOCK_MONOTONIC, 0, 0, 1, 0, 0);
	expired = make(CLOCK_MONOTONIC, 0, 0, 1, HOUR, 0);
	all_the_time = make(CLOCK_MONOTONIC, 0, 0, 1, 0, 1000000);
	before = now(CLOCK_MONOTONIC);
	next = make(CLOCK_BOOTTIME, 0, 0, 30000000, 0, 0);
	disarmed = make(CLOCK_REALTIME, 0, 0, 0, 5, 6);
	zdtm_must((fresh = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) >= 0 &&
	          (blocking = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0);
	wait_for(over);
	wait_for(expired);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < CLOCKS; i++) {
		r = left(rel[i]);
		a = left(absolute[i]);
		lasted = now(CLOCK_BOOTTIME) - started;
		zdtm_check(atoi(shown(rel[i], "clockid")) == clocks[i], "clock %d is %s", clocks[i],
		           shown(rel[i], "clockid"));
		zdtm_check(r <= HOUR * 1000000000LL && r >= HOUR * 1000000000LL - lasted, "clock %d: %lld ns left",
		           clocks[i], r);
		zdtm_check(a <= HOUR * 1000000000LL && a >= (HOUR - 1) * 1000000000LL - lasted,
		           "clock %d, absolute: %lld ns left", clocks[i], a);
		zdtm_check(!strcmp(shown(rel[i], "it_interval"), "(7, 5)"), "clock %d: interval %s", clocks[i],
		           shown(rel[i], "it_interval"));
		zdtm_check(!strcmp(shown(rel[i], "settime flags"), "00") &&
		               !strcmp(shown(absolute[i], "settime flags"), "01"),
		           "clock %d: absolute or not", clocks[i]);
		zdtm_check(ticks(rel[i]) == 0 && ticks(absolute[i]) == 0 && errno == EAGAIN, "clock %d has expired",
		           clocks[i]);
	}
	zdtm_check(!strcmp(shown(cancel, "settime flags"), "03"), "cancelled by a set clock: %s",
	           shown(cancel, "settime flags"));
	zdtm_check(left(over) == 0 && ticks(over) == 1 && ticks(over) == 0, "the one that is over");
	r = left(expired);
	lasted = now(CLOCK_BOOTTIME) - started;
	zdtm_check(r <= HOUR * 1000000000LL && r >= HOUR * 1000000000LL - lasted, "the one that goes on: %lld ns left",
	           r);
	zdtm_check(ticks(expired) == 1, "the expiration of the one that goes on");
	wait_for(all_the_time);
	r = ticks(all_the_time);
	/* None is lost but those of the time between dump and restore, none is made up. */
	zdtm_check(r >= 2 && r <= (now(CLOCK_MONOTONIC) - before) / 1000000 + 1, "%lld expirations of 1 ms each", r);
	wait_for(next);
	zdtm_check(ticks(next) == 1 && left(next) == 0, "the one that expires once");
	zdtm_check(left(disarmed) == 0 && !strcmp(shown(disarmed, "it_interval"), "(5, 6)"), "the disarmed one");
	zdtm_check(left(fresh) == 0 && fcntl(fresh, F_GETFD) == FD_CLOEXEC, "the one that was never set");
	zdtm_check(!(fcntl(blocking, F_GETFL) & O_NONBLOCK) && fcntl(over, F_GETFL) & O_NONBLOCK, "O_NONBLOCK");
	spec.it_value.tv_nsec = 1000;
	zdtm_check(!timerfd_settime(blocking, 0, &spec, NULL) && ticks(blocking) == 1, "setting one anew");
	zdtm_pass();
}
