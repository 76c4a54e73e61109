/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Interval timers and POSIX timers. /proc/PID/timers lists the POSIX timers (proc_pid_timers(5)); the task is asked for
 * their times in batches of their own, since a process may have any number of them.
 */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

#include "agent/agent.h"
#include "arch/arch_abi.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "task/signal_queue.h"
#include "task/timer.h"
#include "task/timer_ids.h"
#include "tree/pid_numbers.h"

#define ITIMERS        3
#define TIMERS_A_BATCH 256
#define NSEC           1000000000ULL
#define USEC           1000000ULL

static int compare_timer_ids(const void *a, const void *b)
{
	const PosixTimerEntry *const *x = a, *const *y = b;

	return (*x)->it_id < (*y)->it_id ? -1 : (*x)->it_id > (*y)->it_id;
}

/* ---- dump ---- */

static int timer_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct arch_itimerval) * ITIMERS, datap);

	for (unsigned i = 0; i < ITIMERS; i++)
		batch_ask(b, SYS_getitimer, i, at + i * sizeof(struct arch_itimerval));
	return 0;
}

/* From the tid as criu sees it, in which the kernel prints it, to the one that images have. */
static int translate_tid(struct task *t, PosixTimerEntry *e, int32_t tid)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		if (t->threads[i].tid != tid)
			continue;
		e->has_notify_thread_id = true;
		e->notify_thread_id = t->threads[i].vtid.v;
		return 0;
	}
	log_warn("%s: its timer %u notifies a thread that has ended; after a restore it notifies none", task_name(t),
	         e->it_id);
	e->it_sigev_notify = SIGEV_NONE;
	return 0;
}

/* Images have no name for the clock of a descriptor, and that of "the calling thread" does not say which thread it is.
 */
static int check_clock(const struct task *t, const PosixTimerEntry *e)
{
	enum { CLOCK_KIND = 7, CLOCK_OF_FD = 3, CLOCK_OF_THREAD = 4 };
	int32_t id = (int32_t)e->clock_id;

	if (id >= 0)
		return 0;
	if ((id & CLOCK_KIND) == CLOCK_OF_FD)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: its timer %u runs by the clock of a device, which is not supported; "
		                   "timer_delete() it before the dump",
		                   task_name(t), e->it_id);
	if ((id & CLOCK_OF_THREAD) && ~(id >> 3) == 0 && t->n_threads > 1)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: its timer %u runs by CPU time of one of its threads (CLOCK_THREAD_CPUTIME_ID), "
		                   "and the kernel does not tell which; timer_delete() it before the dump",
		                   task_name(t), e->it_id);
	return 0;
}

static int dump_timer(struct task *t, PosixTimerEntry *e, const struct timer_line *line)
{
	e->it_id = line->id;
	e->clock_id = (uint32_t)line->clock;
	e->si_signo = line->signo;
	e->sival_ptr = line->value;
	e->it_sigev_notify = line->notify;
	if (line->notify & SIGEV_THREAD_ID)
		translate_tid(t, e, line->pid);
	return check_clock(t, e);
}

static int list_timers(struct dump *d, struct task *t, TaskTimersEntry *all)
{
	_cleanup_free_ char *text = NULL;
	int err = proc_read(t->dump->proc_fd, "timers", &text, NULL), refused = 0;
	const char *at = text;
	struct timer_line line;

	if (err)
		return log_errno(err, "%s: reading /proc/%d/timers", task_name(t), t->pid);
	while ((err = timer_parse(&at, &line)) > 0) {
		PosixTimerEntry *e = arena_msg(d->arena, PosixTimerEntry, posix_timer_entry);

		arena_push(d->arena, &all->posix, &all->n_posix, e);
		refused = dump_timer(t, e, &line) ?: refused;
	}
	if (all->n_posix)
		qsort(all->posix, all->n_posix, sizeof(*all->posix), compare_timer_ids);
	return err < 0 ? log_errno(err, "%s: parsing /proc/%d/timers", task_name(t), t->pid) : refused;
}

static int read_times(struct task *t, struct batch *b, PosixTimerEntry **timers, size_t n)
{
	const struct arch_itimerspec *specs;
	raddr_t at = batch_space(b, n * sizeof(*specs), &specs);
	int err;

	for (size_t i = 0; i < n; i++) {
		batch_ask(b, SYS_timer_gettime, timers[i]->it_id, at + i * sizeof(*specs));
		batch_ask(b, SYS_timer_getoverrun, timers[i]->it_id);
	}
	err = batch_run(b);
	for (size_t i = 0; !err && i < n; i++) {
		int64_t ret = batch_ret(b, (int)(2 * i)), overrun = batch_ret(b, (int)(2 * i + 1));
		struct arch_itimerspec spec = specs[i];

		if (ret < 0 || overrun < 0)
			return log_errno((int)(ret < 0 ? ret : overrun),
			                 "%s: timer_gettime or timer_getoverrun of timer %u", task_name(t),
			                 timers[i]->it_id);
		timers[i]->overrun = (uint32_t)overrun;
		timers[i]->isec = (uint64_t)spec.interval.sec;
		timers[i]->insec = (uint64_t)spec.interval.nsec;
		timers[i]->vsec = (uint64_t)spec.value.sec;
		timers[i]->vnsec = (uint64_t)spec.value.nsec;
	}
	return err;
}

/* The answers to the other rows stay in the agent's area until all have read theirs: they are put back afterwards. */
static int read_all_times(struct thread *th, TaskTimersEntry *all)
{
	struct agent *a = th->dump->agent;
	size_t ops_size = a->batch.n * sizeof(*a->ops);
	_cleanup_free_ void *ops = malloc(ops_size + 1), *space = malloc(a->space_size);
	int err = 0;

	if (!ops || !space)
		return log_errno(-ENOMEM, "%s: out of memory for its timers", task_name(th->task));
	memcpy(ops, a->ops, ops_size);
	memcpy(space, a->space, a->space_size);
	for (size_t i = 0; !err && i < all->n_posix; i += TIMERS_A_BATCH)
		err = read_times(th->task, agent_batch(a, "its timers"), all->posix + i,
		                 MIN(all->n_posix - i, TIMERS_A_BATCH));
	memcpy(a->ops, ops, ops_size);
	memcpy(a->space, space, a->space_size);
	return err;
}

static ItimerEntry *itimer_entry(struct dump *d, const struct arch_itimerval *v)
{
	ItimerEntry *e = arena_msg(d->arena, ItimerEntry, itimer_entry);

	e->isec = v->isec;
	e->iusec = v->iusec;
	e->vsec = v->vsec;
	e->vusec = v->vusec;
	return e;
}

static int timer_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskTimersEntry *all = arena_msg(d->arena, TaskTimersEntry, task_timers_entry);
	const struct arch_itimerval *v = ans->data;
	int err;

	for (unsigned i = 0; i < ITIMERS; i++)
		if (answer_ret(ans, i))
			return log_errno((int)answer_ret(ans, i), "%s: getitimer", task_name(th->task));
	all->real = itimer_entry(d, &v[ITIMER_REAL]);
	all->virt = itimer_entry(d, &v[ITIMER_VIRTUAL]);
	all->prof = itimer_entry(d, &v[ITIMER_PROF]);
	th->core->tc->timers = all;
	err = list_timers(d, th->task, all);
	return err || !all->n_posix ? err : read_all_times(th, all);
}

/* ---- restore ---- */

static bool is_sane_itimer(const ItimerEntry *e)
{
	return e->iusec < USEC && e->vusec < USEC && e->isec <= INT64_MAX && e->vsec <= INT64_MAX;
}

static int check_posix(const struct task *t, const PosixTimerEntry *e)
{
	int notify = (int)e->it_sigev_notify;
	bool found = notify != SIGEV_THREAD_ID;

	for (size_t i = 0; !found && i < t->n_threads; i++)
		found = t->threads[i].vtid.v == e->notify_thread_id;
	if (e->it_id > INT32_MAX || e->insec >= NSEC || e->vnsec >= NSEC || e->isec > INT64_MAX ||
	    e->vsec > INT64_MAX || e->si_signo >= NSIG || !found)
		return log_errno(-EINVAL, "%s: its image has an invalid timer %u", task_name(t), e->it_id);
	return 0;
}

static int timer_check(struct restore *r, const struct thread *th)
{
	TaskTimersEntry *all = th->core->tc->timers;
	int err = 0;

	if (!all)
		return 0;
	if (!is_sane_itimer(all->real) || !is_sane_itimer(all->virt) || !is_sane_itimer(all->prof))
		return log_errno(-EINVAL, "%s: its image has an invalid interval timer", task_name(th->task));
	for (size_t i = 0; !err && i < all->n_posix; i++)
		err = check_posix(th->task, all->posix[i]);
	if (err || !all->n_posix)
		return err;
	qsort(all->posix, all->n_posix, sizeof(*all->posix), compare_timer_ids);
	for (size_t i = 1; i < all->n_posix; i++)
		if (all->posix[i]->it_id == all->posix[i - 1]->it_id)
			return log_errno(-EINVAL, "%s: its image has timer %u twice", task_name(th->task),
			                 all->posix[i]->it_id);
	return timer_ids_check(task_name(th->task), all->posix[all->n_posix - 1]->it_id);
}

static int timer_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const TaskTimersEntry *all = th->core->tc->timers;

	for (size_t i = 0; all && i < all->n_posix; i++)
		all->posix[i]->notify_thread_id =
		    (uint32_t)pid_number_for(&r->tree, th->task, VPID((int32_t)all->posix[i]->notify_thread_id));
	return all && all->n_posix ? timer_ids_create(task_name(th->task), b, all->posix, all->n_posix) : 0;
}

const struct task_part timer_part = {
	.name = "timers",
	.ask = timer_ask,
	.dump = timer_dump,
	.check = timer_check,
	.restore = timer_restore,
};

/* ---- restore: arming ---- */

static void set_itimer(struct batch *b, unsigned which, uint64_t vsec, uint64_t vusec, const ItimerEntry *e)
{
	struct arch_itimerval v = { e->isec, e->iusec, vsec, vusec };
	raddr_t at;

	if (!vsec && !vusec)
		return;
	batch_reserve(b, 1, sizeof(v));
	at = batch_data(b, &v, sizeof(v));
	batch_call(b, SYS_setitimer, which, at, 0);
}

static void set_timer(struct batch *b, const PosixTimerEntry *e, int flags, struct arch_timespec value)
{
	struct arch_itimerspec spec = { .interval = { (int64_t)e->isec, (int64_t)e->insec }, .value = value };
	raddr_t at;

	batch_reserve(b, 1, sizeof(spec));
	at = batch_data(b, &spec, sizeof(spec));
	batch_call(b, SYS_timer_settime, e->it_id, (uint64_t)flags, at, 0);
}

/* When a periodic timer has expired that does so again in e's value: an interval before that. At least 1 ns. */
static struct arch_timespec last_expiration(const PosixTimerEntry *e, struct arch_timespec now)
{
	int64_t sec = (int64_t)e->vsec - (int64_t)e->isec, nsec = (int64_t)e->vnsec - (int64_t)e->insec;

	if (sec > 0 || (!sec && nsec > 0)) /* no value that the kernel shows */
		return now;
	sec += now.sec;
	nsec += now.nsec;
	sec += nsec < 0 ? -1 : nsec >= (int64_t)NSEC;
	nsec += nsec < 0 ? (int64_t)NSEC : nsec >= (int64_t)NSEC ? -(int64_t)NSEC : 0;
	return sec < 0 || (!sec && !nsec) ? (struct arch_timespec) { 0, 1 } : (struct arch_timespec) { sec, nsec };
}

/*
 * The kernel queues the signal of a timer whose time has passed, and starts it again when the signal is taken, as it
 * would have done with the old one. Absolute where that does not tie it to a clock that can be set; a clock of CPU time
 * stands still here, and only an absolute time is found to have passed.
 */
static int set_expired(struct batch *b, const PosixTimerEntry *e)
{
	int32_t clock = (int32_t)e->clock_id;
	struct arch_timespec *now;
	raddr_t at;
	int err;

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM || clock == CLOCK_TAI) {
		set_timer(b, e, 0, (struct arch_timespec) { 0, 1 });
		return 0;
	}
	batch_reserve(b, 1, sizeof(*now));
	at = batch_space(b, sizeof(*now), &now);
	batch_call(b, SYS_clock_gettime, (uint64_t)clock, at);
	err = batch_run(b);
	if (!err)
		set_timer(b, e, TIMER_ABSTIME, last_expiration(e, *now));
	return err;
}

static void mark_pending(const struct task *t, const SignalQueueEntry *q, bool *pending)
{
	const TaskTimersEntry *all = t->threads[0].core->tc->timers;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t info = signal_queue_info(q, i);
		const PosixTimerEntry *e = signal_queue_posix_timer(t, &info);

		for (size_t k = 0; e && timer_has_expired(e) && k < all->n_posix; k++)
			pending[k] |= all->posix[k] == e;
	}
}

static int arm_posix(struct restore *r, const struct task *t, struct batch *b)
{
	const TaskTimersEntry *all = t->threads[0].core->tc->timers;
	bool *pending = arena_array(r->arena, bool, all->n_posix);
	int err = 0;

	mark_pending(t, t->threads[0].core->tc->signals_s, pending);
	for (size_t i = 0; i < t->n_threads; i++)
		mark_pending(t, t->threads[i].core->thread_core->signals_p, pending);
	for (size_t i = 0; !err && i < all->n_posix; i++) {
		const PosixTimerEntry *e = all->posix[i];

		if (pending[i])
			err = set_expired(b, e);
		else if (e->vsec || e->vnsec)
			set_timer(b, e, 0, (struct arch_timespec) { (int64_t)e->vsec, (int64_t)e->vnsec });
	}
	return err;
}

/*
 * In the last thread of the task: the signals of all have been queued, and what timers send comes behind them. A
 * waiting ITIMER_REAL expires at once: its signal is queued, or becomes one with that which was pending.
 */
static int timer_arm(struct restore *r, struct thread *th, struct batch *b)
{
	struct task *t = th->task;
	const TaskTimersEntry *all = t->threads[0].core->tc->timers;
	bool waits =
	    all && timer_is_waiting(all->real) && signal_queue_has_number(t->threads[0].core->tc->signals_s, SIGALRM);
	int err;

	if (!all || th != &t->threads[t->n_threads - 1])
		return 0;
	err = all->n_posix ? arm_posix(r, t, b) : 0;
	set_itimer(b, ITIMER_REAL, all->real->vsec, waits ? 1 : all->real->vusec, all->real);
	set_itimer(b, ITIMER_VIRTUAL, all->virt->vsec, all->virt->vusec, all->virt);
	set_itimer(b, ITIMER_PROF, all->prof->vsec, all->prof->vusec, all->prof);
	return err;
}

const struct task_part timer_arm_part = {
	.name = "arming of timers",
	.per_thread = true,
	.restore = timer_arm,
};
