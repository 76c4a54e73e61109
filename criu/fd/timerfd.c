/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * timerfd: the time that was left goes on from the restore, as that of other timers does (task/timer.c). An absolute
 * expiry moves along: what was 5 seconds away is 5 seconds away; by a clock that goes on in the tree (tree/time_ns.h),
 * it stays at the very time of that clock. A read that would fail with ECANCELED, since the clock was set before the
 * dump, comes back as an expiration: the kernel counts it as one and shows no difference.
 */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "lib/fd_flags.h"
#include "proc/fdinfo.h"
#include "files/files.h"
#include "lib/log.h"
#include "tree/time_ns.h"
#include "timerfd.pb-c.h"
#include "uapi/timerfd_ticks.h"

#define NSEC           1000000000L
#define LOOKS          100       /* at most, until no expiration falls between two */
#define SHORTEST       1000000UL /* ns: left at least, where expirations are set of a timer that runs already */
#define LONGEST        NSEC
#define HASTE          50000     /* ns: a look that takes longer does not tell when the timer was so */
#define PATIENCE       8000000UL /* ns: so often the times of a clock are kept, if it expires between two calls */
#define MAX_PROCESSORS 8192
#define SILENT         64 /* timers that seem to be unset, looked at again together */

extern const struct fd_kind timerfd_kind;

struct shown_timer {
	uint64_t clock, ticks, settime_flags;
	struct itimerspec spec;
	int64_t read_at, took; /* by its clock: between these times it was as shown */
};

static bool timerfd_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:[timerfd]");
}

/* ---- dump ---- */

static bool parse_pair(const char *text, const char *key, struct timespec *ts)
{
	const char *at = fdinfo_value(text, key);
	unsigned long long sec, nsec;

	if (!at || sscanf(at, "(%llu, %llu)", &sec, &nsec) != 2 || sec > INT64_MAX || nsec >= (unsigned long long)NSEC)
		return false;
	*ts = (struct timespec) { (time_t)sec, (long)nsec };
	return true;
}

static int parse_timer(const struct fd_info *info, const char *text, struct shown_timer *s)
{
	if (fdinfo_number(text, "clockid", 10, &s->clock) || fdinfo_number(text, "ticks", 10, &s->ticks) ||
	    fdinfo_number(text, "settime flags", 8, &s->settime_flags) ||
	    !parse_pair(text, "it_value", &s->spec.it_value) || !parse_pair(text, "it_interval", &s->spec.it_interval))
		return log_errno(-EINVAL, "%s: unknown fdinfo of a timerfd", fd_name(info));
	return 0;
}

static bool is_zero_time(const struct timespec *ts)
{
	return !ts->tv_sec && !ts->tv_nsec;
}

/* The clock of a timer: that of an alarm is the clock without wakeups. */
static clockid_t clock_of(uint32_t clock)
{
	return clock == CLOCK_REALTIME_ALARM   ? CLOCK_REALTIME
	       : clock == CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME
	                                       : (clockid_t)clock;
}

static int64_t ns_of(uint64_t sec, uint64_t nsec)
{
	return (int64_t)sec * NSEC + (int64_t)nsec;
}

static int64_t clock_ns_of(uint32_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock_of(clock), &ts);
	return ns_of((uint64_t)ts.tv_sec, (uint64_t)ts.tv_nsec);
}

/* Whether it expires at a time of a clock that goes on where it was. */
static bool is_at_a_time(uint32_t clockid, uint32_t settime_flags)
{
	clockid_t clock = clock_of(clockid);

	return (settime_flags & TFD_TIMER_ABSTIME) && (clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME);
}

/* The text of the duplicate's fdinfo, which is that of the task's. */
static int read_timer(const struct fd_info *info, uint32_t clock, struct shown_timer *s)
{
	_cleanup_fclose_ FILE *f = NULL;
	char path[48], text[1024];
	int64_t began, ended;
	size_t n;
	int err;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", info->fd);
	f = fopen(path, "re");
	if (!f)
		return log_errno(-errno, "%s: open of its fdinfo", fd_name(info));
	began = clock_ns_of(clock);
	n = fread(text, 1, sizeof(text) - 1, f);
	ended = clock_ns_of(clock);
	text[n] = 0;
	err = parse_timer(info, text, s);
	s->read_at = began + (ended - began) / 2;
	s->took = ended - began;
	return err;
}

/*
 * The kernel does not start an interval again that has run out before a read or timerfd_gettime(): until then neither
 * the expirations since nor the next one are shown. timerfd_gettime() changes nothing that a read would not find.
 * The values that are shown belong together if no expiration fell between two looks. What is left until a time of a
 * clock counts from when it was read, which is not known well if criu had to wait for a processor meanwhile.
 */
static int look_until_still(const struct fd_info *info, struct shown_timer before, struct shown_timer *now)
{
	struct itimerspec asked;
	int err = 0;

	for (int i = 0; !err && i < LOOKS; i++, before = *now) {
		if (timerfd_gettime(info->fd, &asked))
			return log_errno(-errno, "%s: timerfd_gettime", fd_name(info));
		err = read_timer(info, (uint32_t)before.clock, now);
		if (err || now->ticks != before.ticks ||
		    (now->took > HASTE && is_at_a_time((uint32_t)now->clock, (uint32_t)now->settime_flags)))
			continue;
		if (!is_zero_time(&now->spec.it_value) ||
		    (is_zero_time(&before.spec.it_value) && is_zero_time(&asked.it_value)))
			return 0;
	}
	/* One that expires faster than it can be read: it has just expired, and is not started again. */
	if (!err && is_zero_time(&now->spec.it_value))
		now->spec.it_value = now->spec.it_interval;
	return err;
}

static void set_left(TimerfdEntry *m, int64_t left)
{
	m->vsec = (uint64_t)(left / NSEC);
	m->vnsec = (uint64_t)(left % NSEC);
}

/* What happens to an armed timer in `by` nanoseconds. */
static void let_pass(TimerfdEntry *m, int64_t by)
{
	int64_t left = ns_of(m->vsec, m->vnsec) - by, interval = ns_of(m->isec, m->insec);

	if (left <= 0 && interval) {
		int64_t n = -left / interval + 1;

		m->ticks += (uint64_t)n;
		left += n * interval;
	}
	set_left(m, MAX(left, 1));
}

/* One of a clock that goes on from a time that is not known yet. */
struct timed {
	TimerfdEntry *m;
	int64_t read_at;
	struct timed *next;
};

/* One that was shown as unset, and may be due: see look_at_silent(). */
struct silent {
	TimerfdEntry *m;
	struct fd_info info; /* with a descriptor of its own */
	struct shown_timer shown;
};

struct timers_dump {
	struct timed *timed;
	struct silent *silent;
	size_t n_silent;
};

static int keep_timed(struct dump *d, TimerfdEntry *m, int64_t read_at)
{
	struct timers_dump *s = dump_state(d, &timerfd_kind);
	struct timed *t = arena_new_of(d->arena, struct timed);

	*t = (struct timed) { .m = m, .read_at = read_at, .next = s->timed };
	s->timed = t;
	return DUMP_LATER;
}

/* What was found out goes into the message. 0 or DUMP_LATER. */
static int note_timer(struct dump *d, TimerfdEntry *m, const struct shown_timer *s)
{
	m->clockid = (uint32_t)s->clock;
	m->ticks = s->ticks;
	m->settime_flags = (uint32_t)s->settime_flags;
	m->vsec = (uint64_t)s->spec.it_value.tv_sec;
	m->vnsec = (uint64_t)s->spec.it_value.tv_nsec;
	m->isec = (uint64_t)s->spec.it_interval.tv_sec;
	m->insec = (uint64_t)s->spec.it_interval.tv_nsec;
	return is_at_a_time(m->clockid, m->settime_flags) && (m->vsec || m->vnsec) ? keep_timed(d, m, s->read_at) : 0;
}

/*
 * This thread runs on each processor that criu may use, one after the other: each thereby takes the interrupts of
 * timers that are due. Not on others, which may be kept free for a program that never gives way.
 */
static void visit_processors(void)
{
	unsigned long all[MAX_PROCESSORS / 64] = { 0 }, one[MAX_PROCESSORS / 64] = { 0 };

	if (sched_getaffinity(0, sizeof(all), (cpu_set_t *)all))
		return;
	for (size_t cpu = 0; cpu < MAX_PROCESSORS; cpu++) {
		one[cpu / 64] = all[cpu / 64] & 1UL << cpu % 64;
		if (one[cpu / 64])
			sched_setaffinity(0, sizeof(one), (cpu_set_t *)one);
		one[cpu / 64] = 0;
	}
	sched_setaffinity(0, sizeof(all), (cpu_set_t *)all);
}

/*
 * A timer whose time has come is shown as one that nobody has set until the processor that the timer waits on takes the
 * interrupt: microseconds, but milliseconds where a processor of a virtual machine has to be woken. So all processors
 * are made to, and then the timers are looked at again.
 */
static int look_at_silent(struct dump *d, struct timers_dump *s)
{
	int err = 0;

	if (s->n_silent)
		visit_processors();
	for (size_t i = 0; i < s->n_silent; i++) {
		struct silent *t = &s->silent[i];

		err = err ?: look_until_still(&t->info, t->shown, &t->shown);
		close(t->info.fd);
		if (!err && note_timer(d, t->m, &t->shown) != DUMP_LATER)
			err = files_write_entry(d, &timerfd_kind, t->m->id, t->m);
	}
	s->n_silent = 0;
	return err;
}

static int write_timed(struct dump *d)
{
	struct timers_dump *s = dump_state(d, &timerfd_kind);
	int err = look_at_silent(d, s);

	for (struct timed *t = s->timed; !err && t; t = t->next) {
		struct timespec then;

		time_ns_noted(d, clock_of(t->m->clockid), &then);
		let_pass(t->m, ns_of((uint64_t)then.tv_sec, (uint64_t)then.tv_nsec) - t->read_at);
		err = files_write_entry(d, &timerfd_kind, t->m->id, t->m);
	}
	return err;
}

static int keep_silent(struct dump *d, const struct fd_info *info, TimerfdEntry *m, const struct shown_timer *shown)
{
	struct timers_dump *s = dump_state(d, &timerfd_kind);
	struct silent t = { .m = m, .shown = *shown };
	int err = s->n_silent < SILENT ? 0 : look_at_silent(d, s);

	if (err)
		return err;
	t.info = (struct fd_info) { .task = info->task, .number = info->number, .what = "a timerfd" };
	t.info.fd = fcntl(info->fd, F_DUPFD_CLOEXEC, 3);
	if (t.info.fd < 0)
		return log_errno(-errno, "%s: fcntl(F_DUPFD_CLOEXEC)", fd_name(info));
	s->silent = s->silent ?: arena_array(d->arena, struct silent, SILENT);
	s->silent[s->n_silent++] = t;
	return DUMP_LATER;
}

static int timerfd_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct shown_timer before = { 0 }, s = { 0 };
	int err = parse_timer(info, info->info, &before) ?: look_until_still(info, before, &s);

	if (err)
		return err;
	return s.ticks || !is_zero_time(&s.spec.it_value) ? note_timer(d, msg, &s) : keep_silent(d, info, msg, &s);
}

/* ---- restore ---- */

static int timerfd_check(struct restore *r, const void *msg, const char **why)
{
	const TimerfdEntry *m = msg;
	_cleanup_close_ int fd = -1;

	if (m->vnsec >= (uint64_t)NSEC || m->insec >= (uint64_t)NSEC || m->vsec > INT32_MAX * 1000UL ||
	    m->isec > INT32_MAX * 1000UL) {
		*why = "its times are invalid";
		return -EINVAL;
	}
	fd = timerfd_create((int)m->clockid, TFD_CLOEXEC);
	if (fd >= 0)
		return 0;
	*why = arena_printf(r->arena, "a timer of clock %u cannot be created%s", m->clockid,
	                    errno == EPERM ? " without CAP_WAKE_ALARM" : "");
	return -errno;
}

static int timerfd_open(struct restore *r, const void *msg)
{
	const TimerfdEntry *m = msg;
	_cleanup_close_ int fd = timerfd_create((int)m->clockid, TFD_CLOEXEC);
	int err;

	if (fd < 0)
		return log_errno(-errno, "timerfd_create of clock %u", m->clockid);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

static void add_time(struct timespec *ts, uint64_t sec, uint64_t nsec)
{
	nsec += (uint64_t)ts->tv_nsec;
	ts->tv_sec += (time_t)(sec + nsec / (uint64_t)NSEC);
	ts->tv_nsec = (long)(nsec % (uint64_t)NSEC);
}

static bool is_past(clockid_t clock, const struct timespec *end)
{
	struct timespec now = { 0 };

	clock_gettime(clock, &now);
	return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

/* Armed with this time left; *end is when it will expire at the earliest. */
static int arm_timer(struct restore *r, int fd, const TimerfdEntry *m, uint64_t sec, uint64_t nsec,
                     struct timespec *end)
{
	struct itimerspec spec = { .it_interval = { (time_t)m->isec, (long)m->insec } };
	int flags = (int)m->settime_flags & (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET);

	if (flags & TFD_TIMER_ABSTIME)
		time_ns_base(r, clock_of(m->clockid), end);
	else
		clock_gettime(clock_of(m->clockid), end);
	add_time(end, sec, nsec);
	if (sec || nsec)
		spec.it_value = flags & TFD_TIMER_ABSTIME ? *end : (struct timespec) { (time_t)sec, (long)nsec };
	if (timerfd_settime(fd, flags, &spec, NULL))
		return log_errno(-errno, "timerfd_settime of clock %u", m->clockid);
	return 0;
}

/* Without TFD_IOC_SET_TICKS: one expiration is better than none, since a reader may wait for it. */
static int expire_once(struct restore *r, int fd, const TimerfdEntry *m)
{
	TimerfdEntry soon = *m;
	struct timespec end;

	if (m->ticks > 1)
		log_warn("a timerfd had expired %llu times; this kernel can restore only one of them (no "
		         "CONFIG_CHECKPOINT_RESTORE)",
		         (unsigned long long)m->ticks);
	soon.settime_flags &= ~(uint32_t)TFD_TIMER_ABSTIME & ~(uint32_t)TFD_TIMER_CANCEL_ON_SET;
	return arm_timer(r, fd, &soon, 0, 1, &end);
}

/* One that expires at a time which may have passed since its clock went on; what is left still counts from then. */
static void let_pass_since_base(struct restore *r, TimerfdEntry *m)
{
	struct timespec base;
	int64_t since;

	time_ns_base(r, clock_of(m->clockid), &base);
	since = clock_ns_of(m->clockid) - ns_of((uint64_t)base.tv_sec, (uint64_t)base.tv_nsec);
	let_pass(m, since);
	set_left(m, ns_of(m->vsec, m->vnsec) + since);
}

/* TFD_IOC_SET_TICKS forgets an expiration since the timer was armed: then once more, with more time for it. */
static int arm_with_ticks(struct restore *r, int fd, const TimerfdEntry *m)
{
	bool armed = m->vsec || m->vnsec, at_a_time = armed && is_at_a_time(m->clockid, m->settime_flags);

	for (uint64_t least = SHORTEST;; least *= 2) {
		TimerfdEntry now = *m;
		struct timespec end;
		int err;

		if (at_a_time)
			let_pass_since_base(r, &now);
		if (armed && !now.vsec && now.vnsec < least && (!at_a_time || least > PATIENCE))
			now.vnsec = MIN(least, (uint64_t)NSEC - 1);
		err = arm_timer(r, fd, &now, now.vsec, now.vnsec, &end);
		if (err)
			return err;
		if (ioctl(fd, TFD_IOC_SET_TICKS, &now.ticks))
			return errno == ENOTTY || errno == EINVAL ? expire_once(r, fd, m)
			                                          : log_errno(-errno, "timerfd: TFD_IOC_SET_TICKS");
		if (!armed || least >= (uint64_t)LONGEST || !is_past(clock_of(m->clockid), &end))
			return 0;
	}
}

static int timerfd_post_open(struct restore *r, const void *msg, int fd)
{
	TimerfdEntry m = *(const TimerfdEntry *)msg;
	struct timespec end;

	if (!m.vsec && !m.vnsec && m.ticks) { /* from CRIU: an interval that has run out and was not read since */
		m.vsec = m.isec;
		m.vnsec = m.insec;
	}
	return m.ticks ? arm_with_ticks(r, fd, &m) : arm_timer(r, fd, &m, m.vsec, m.vnsec, &end);
}

const struct fd_kind timerfd_kind = {
	.name = "timerfd",
	.state = { .dump = sizeof(struct timers_dump) },
	.type = FD_TYPES__TIMERFD,
	.field = 12,
	.pb = &timerfd_entry__descriptor,
	.match = timerfd_match,
	.dump = timerfd_dump,
	.write_images = write_timed,
	.check = timerfd_check,
	.open = timerfd_open,
	.post_open = timerfd_post_open,
};
