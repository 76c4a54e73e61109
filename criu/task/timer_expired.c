/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Timers that expire while a task is read. Its queues of signals are read before the agent enters, then its timers, and
 * here the queues once more. A timer's signal that came in between makes the timer one that had expired, whatever it
 * showed: nothing takes signals off the queues of a frozen task. All other timers are armed, and a signal that one of
 * them sends from here on is left to the restored task, in which it expires again (task/signal_last.c).
 */
#include "lib/log.h"
#include "task/signal_queue.h"
#include "task/timer.h"
#include "task/timer_stale.h"
#include "tree/subsys.h"

/* What a timer shows when its signal is pending. */
static void mark_expired(const struct task *t, const siginfo_t *info)
{
	PosixTimerEntry *p = signal_queue_posix_timer(t, info);
	ItimerEntry *i = signal_queue_itimer(t, info);

	/* A periodic one shows the time to the next expiration, and is started by the kernel when the signal is taken.
	 */
	if (p && !p->isec && !p->insec)
		p->vsec = p->vnsec = 0;
	if (!i)
		return;
	/* The kernel starts ITIMER_REAL again when the signal is taken, and those of CPU time at once. */
	i->vsec = info->si_signo == SIGALRM ? 0 : i->isec;
	i->vusec = info->si_signo == SIGALRM ? 0 : i->iusec;
}

extern const struct subsys timer_expired_subsys;

/* What the kernel does with a stale signal is asked once in a dump. */
struct stale_signals {
	bool known, dropped;
};

static bool are_dropped(struct dump *d)
{
	struct stale_signals *s = dump_state(d, &timer_expired_subsys);

	if (!s->known)
		*s = (struct stale_signals) { true, timer_stale_is_dropped() };
	return s->dropped;
}

/* Armed again after it had sent the signal, which is shown until a task comes to take it. */
static bool is_stale(struct dump *d, const struct task *t, const siginfo_t *info)
{
	const PosixTimerEntry *p = signal_queue_posix_timer(t, info);

	return p && !timer_has_expired(p) && are_dropped(d);
}

static int look_again(struct dump *d, const struct thread *th, bool shared, SignalQueueEntry **queue)
{
	const SignalQueueEntry *before = *queue;
	SignalQueueEntry *now;
	size_t n = 0;
	int err = signal_queue_read(d, th, shared, &now);

	for (size_t i = 0; !err && i < now->n_signals; i++) {
		siginfo_t info = signal_queue_info(now, i);

		if (!signal_queue_has(before, &info))
			mark_expired(th->task, &info);
		if (!is_stale(d, th->task, &info) && !signal_queue_is_idle_stop(th->task, &info))
			now->signals[n++] = now->signals[i];
	}
	if (err)
		return err;
	now->n_signals = n;
	*queue = now;
	return 0;
}

/* Only POSIX timers send signals to threads. */
static int look_at_queues(struct dump *d, struct task *t)
{
	const TaskTimersEntry *timers = t->threads[0].core->tc->timers;
	int err = look_again(d, &t->threads[0], true, &t->threads[0].core->tc->signals_s);

	for (size_t i = 0; !err && timers && timers->n_posix && i < t->n_threads; i++)
		err = look_again(d, &t->threads[i], false, &t->threads[i].core->thread_core->signals_p);
	return err;
}

const struct subsys timer_expired_subsys = {
	.name = "timers that expire meanwhile",
	.state = { .dump = sizeof(struct stale_signals) },
	.dump_task = look_at_queues,
};
