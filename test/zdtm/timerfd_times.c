/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many timers that expire at the same times of a clock go on doing so (timerfd_times.py), however long criu has to wait
 * for a processor between two of its looks.
 *
 * zdtm: iters 2
 */
#include <sys/timerfd.h>
#include <time.h>

#include "zdtm.h"

#define N     400
#define NSEC  1000000000LL
#define EVERY 10     /* s */
#define MOVED 200000 /* ns: what is allowed, of all rounds */

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

/* How far its expirations are from whole times since `begun`: the shortest of some looks, between which others may run.
 */
static long long moved(int fd, long long begun)
{
	long long least = NSEC, before, after, off;
	struct itimerspec left;

	for (int i = 0; i < 100 && least > MOVED / 2; i++) {
		before = now();
		zdtm_must(!timerfd_gettime(fd, &left));
		after = now();
		if (after - before > MOVED / 4)
			continue;
		off = (before + left.it_value.tv_sec * NSEC + left.it_value.tv_nsec - begun) % (EVERY * NSEC);
		off = off > EVERY * NSEC / 2 ? EVERY * NSEC - off : off;
		least = off < least ? off : least;
	}
	return least;
}

int main(void)
{
	long long begun = now(), first = begun + EVERY * NSEC;
	struct itimerspec spec = { { EVERY, 0 }, { first / NSEC, first % NSEC } };
	int fds[N];

	for (int i = 0; i < N; i++) {
		fds[i] = timerfd_create(CLOCK_MONOTONIC, 0);
		zdtm_must(fds[i] >= 0 && !timerfd_settime(fds[i], TFD_TIMER_ABSTIME, &spec, NULL));
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		long long off = moved(fds[i], begun);

		if (!zdtm_check(off < MOVED, "timer %d has moved by %lld ns", i, off))
			break;
	}
	zdtm_pass();
}
