/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Programs that wait for a value of CLOCK_MONOTONIC or CLOCK_BOOTTIME: absolute and relative sleeps, absolute timerfds,
 * condition variables, poll, POSIX timers. Each goes on after the checkpoint, neither at once nor late, and the clocks
 * go on where they were, by the vdso and by the kernel; a child that is born later has them too. time_ns.py has this
 * program meet other uptimes.
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: flavour ns
 * zdtm: frozen
 * zdtm: allow fd [0-9]*ticks  any  its timers go on expiring
 */
#include <poll.h>
#include <pthread.h>
#include <sys/timerfd.h>

#include "zdtm.h"

#define STEP   5000000L /* ns, of all loops */
#define NSEC   1000000000L
#define JUMP   (300 * NSEC) /* the most that a clock may go on between two looks: a dump and a restore under load */
#define ROUNDS 20
#define PHASE  100000000L /* ns */

static _Atomic int stop;

static long long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static long long now_by_kernel(clockid_t clock)
{
	struct timespec ts;

	syscall(SYS_clock_gettime, clock, &ts);
	return ts.tv_sec * NSEC + ts.tv_nsec;
}

static struct timespec at(long long ns)
{
	return (struct timespec) { ns / NSEC, ns % NSEC };
}

/* One who waits: how long its waits are is counted and looked at by itself. */
struct waiter {
	const char *name;
	clockid_t clock;
	void (*until)(struct waiter *w, long long when); /* may come back early, by a signal */
	_Atomic long rounds;
	long long earlier, last; /* when this wait and the one before began */
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t cond;
};

static void sleep_absolute(struct waiter *w, long long when)
{
	struct timespec ts = at(when);

	clock_nanosleep(w->clock, TIMER_ABSTIME, &ts, NULL);
}

static void sleep_relative(struct waiter *w, long long when)
{
	long long left = when - now(w->clock);
	struct timespec ts = at(left > 0 ? left : 0);

	clock_nanosleep(w->clock, 0, &ts, NULL);
}

static void poll_timeout(struct waiter *w, long long when)
{
	long long left = when - now(w->clock);

	poll(NULL, 0, left > 0 ? (int)(left / 1000000) + 1 : 0);
}

static void cond_absolute(struct waiter *w, long long when)
{
	struct timespec ts = at(when);

	pthread_mutex_lock(&w->lock);
	pthread_cond_timedwait(&w->cond, &w->lock, &ts);
	pthread_mutex_unlock(&w->lock);
}

static void timerfd_absolute(struct waiter *w, long long when)
{
	struct itimerspec spec = { .it_value = at(when) };
	uint64_t ticks;

	if (timerfd_settime(w->fd, TFD_TIMER_ABSTIME, &spec, NULL) ||
	    read(w->fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	zdtm_check(now(w->clock) >= when, "%s: %lld ns early", w->name, when - now(w->clock));
}

/* An interval, which keeps its phase to the clock. */
static void timerfd_interval(struct waiter *w, long long when)
{
	uint64_t ticks;
	long long late;

	if (read(w->fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	late = (now(w->clock) - w->earlier) / STEP + 2;
	zdtm_check((long long)ticks <= late, "%s: %llu expirations where %lld were due", w->name,
	           (unsigned long long)ticks, late);
}

static void *wait_on(void *arg)
{
	struct waiter *w = arg;
	long long before = now(w->clock);

	while (!stop) {
		long long after;

		w->earlier = w->last;
		w->last = before;
		w->until(w, before + STEP);
		after = now(w->clock);
		zdtm_check(after >= before, "%s: its clock went back by %lld ns", w->name, before - after);
		zdtm_check(after - before < JUMP, "%s: its clock went on by %lld s", w->name, (after - before) / NSEC);
		before = after;
		w->rounds++;
	}
	return NULL;
}

static struct waiter waiters[] = {
	{ .name = "absolute sleep", .clock = CLOCK_MONOTONIC, .until = sleep_absolute },
	{ .name = "absolute sleep by boot time", .clock = CLOCK_BOOTTIME, .until = sleep_absolute },
	{ .name = "relative sleep", .clock = CLOCK_MONOTONIC, .until = sleep_relative },
	{ .name = "poll", .clock = CLOCK_MONOTONIC, .until = poll_timeout },
	{ .name = "condition variable", .clock = CLOCK_MONOTONIC, .until = cond_absolute },
	{ .name = "absolute timerfd", .clock = CLOCK_MONOTONIC, .until = timerfd_absolute },
	{ .name = "absolute timerfd by boot time", .clock = CLOCK_BOOTTIME, .until = timerfd_absolute },
	{ .name = "timerfd with an interval", .clock = CLOCK_MONOTONIC, .until = timerfd_interval },
	{ .name = "timerfd with an interval, by boot time", .clock = CLOCK_BOOTTIME, .until = timerfd_interval },
};

#define N_WAITERS (sizeof(waiters) / sizeof(*waiters))

static void start(struct waiter *w)
{
	long long begun = now(w->clock); /* before its timer is armed: the thread may be late */
	struct itimerspec spec = { { 0, STEP }, at(begun + STEP) };
	pthread_condattr_t attr;
	pthread_t thread;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->cond, &attr);
	pthread_mutex_init(&w->lock, NULL);
	w->last = begun;
	w->fd = timerfd_create(w->clock, 0);
	zdtm_must(w->fd >= 0);
	if (w->until == timerfd_interval)
		zdtm_must(!timerfd_settime(w->fd, TFD_TIMER_ABSTIME, &spec, NULL));
	zdtm_must(!pthread_create(&thread, NULL, wait_on, w));
}

/* The clock of the C library is the vdso's: between two looks of the kernel's. */
static void check_vdso(const char *who)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_REALTIME, CLOCK_TAI };

	for (size_t i = 0; i < sizeof(clocks) / sizeof(*clocks); i++) {
		long long before = now_by_kernel(clocks[i]), by_vdso = now(clocks[i]), after = now_by_kernel(clocks[i]);

		zdtm_check(before <= by_vdso && by_vdso <= after,
		           "%s: clock %d by the vdso is %lld, the kernel says %lld to %lld", who, clocks[i], by_vdso,
		           before, after);
	}
}

/* What /proc/uptime says is CLOCK_BOOTTIME. */
static void check_uptime(void)
{
	double uptime = 0, boot = now(CLOCK_BOOTTIME) / 1e9;
	FILE *f = fopen("/proc/uptime", "r");

	zdtm_check(f && fscanf(f, "%lf", &uptime) == 1 && uptime >= boot - 1 && uptime < boot + 60,
	           "/proc/uptime is %f, the clock %f", uptime, boot);
	if (f)
		fclose(f);
}

static void check_child(long long after)
{
	pid_t pid = fork();
	int status = 1;

	if (!pid) {
		check_vdso("a child");
		zdtm_check(now(CLOCK_MONOTONIC) >= after, "a child has another clock");
		_exit(0);
	}
	zdtm_check(pid > 0 && waitpid(pid, &status, 0) == pid && !status, "fork");
}

/* Absolute, never read: each expiration at a whole PHASE since the begin, and all of them counted. */
static int make_phased(clockid_t clock, long long begun)
{
	struct itimerspec spec = { { 0, PHASE }, at(begun + PHASE) };
	int fd = timerfd_create(clock, 0);

	zdtm_must(fd >= 0 && !timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL));
	return fd;
}

static void check_phased(clockid_t clock, int fd, long long begun)
{
	long long off, least = PHASE, before, after;
	struct itimerspec left;
	uint64_t ticks;

	for (int i = 0; i < 100 && least > PHASE / 200; i++) {
		before = now(clock);
		zdtm_must(!timerfd_gettime(fd, &left));
		after = now(clock);
		off = (before + left.it_value.tv_sec * NSEC + left.it_value.tv_nsec - begun) % PHASE;
		off = off > PHASE / 2 ? PHASE - off : off;
		if (after - before < PHASE / 1000)
			least = off < least ? off : least;
	}
	zdtm_check(least < PHASE / 50, "clock %d: an absolute timerfd has moved by %lld ns", clock, least);
	before = now(clock);
	zdtm_must(read(fd, &ticks, sizeof(ticks)) == sizeof(ticks));
	after = now(clock);
	zdtm_check((long long)ticks >= (before - begun - PHASE / 50) / PHASE &&
	               (long long)ticks <= (after - begun + PHASE / 50) / PHASE,
	           "clock %d: %llu expirations in %lld ns", clock, (unsigned long long)ticks, after - begun);
}

int main(void)
{
	long long begun[2] = { now(CLOCK_MONOTONIC), now(CLOCK_BOOTTIME) }, ended;
	struct itimerspec hour = { .it_value = at(begun[0] + 3600 * NSEC) }, left;
	struct sigevent none = { .sigev_notify = SIGEV_NONE };
	long before[N_WAITERS];
	int phased[2] = { make_phased(CLOCK_MONOTONIC, begun[0]), make_phased(CLOCK_BOOTTIME, begun[1]) };
	timer_t timer;

	zdtm_must(!timer_create(CLOCK_MONOTONIC, &none, &timer) && !timer_settime(timer, TIMER_ABSTIME, &hour, NULL));
	for (size_t i = 0; i < N_WAITERS; i++)
		start(&waiters[i]);
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < N_WAITERS; i++)
		before[i] = waiters[i].rounds;
	check_phased(CLOCK_MONOTONIC, phased[0], begun[0]);
	check_phased(CLOCK_BOOTTIME, phased[1], begun[1]);
	check_vdso("the program");
	check_uptime();
	ended = now(CLOCK_MONOTONIC);
	check_child(ended);
	zdtm_check(ended - begun[0] > 0 && ended - begun[0] < JUMP, "the clock went on by %lld ns", ended - begun[0]);
	ended = now(CLOCK_BOOTTIME);
	zdtm_check(ended - begun[1] > 0 && ended - begun[1] < JUMP, "boot time went on by %lld ns", ended - begun[1]);
	zdtm_must(!timer_gettime(timer, &left));
	ended = now(CLOCK_MONOTONIC) + left.it_value.tv_sec * NSEC + left.it_value.tv_nsec - begun[0] - 3600 * NSEC;
	zdtm_check(ended > -NSEC / 10 && ended < JUMP, "an absolute timer is off by %lld ns", ended);
	for (size_t i = 0; i < N_WAITERS; i++) {
		for (int naps = 0; naps < 3000 && waiters[i].rounds < before[i] + ROUNDS; naps++)
			usleep(10000);
		zdtm_check(waiters[i].rounds >= before[i] + ROUNDS, "%s: stands still (%ld rounds since)",
		           waiters[i].name, waiters[i].rounds - before[i]);
	}
	zdtm_pass();
}
