/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals that others send to a frozen tree: all that came before the commit are in the images. The queues are read
 * once more when all else is done, and images written again where something has come. What is sent later goes to a task
 * that is being killed, as if it were dead.
 */
#include <string.h>

#include "freeze/ptrace.h"
#include "image/image.h"
#include "lib/log.h"
#include "task/signal_queue.h"
#include "tree/subsys.h"
#include "tree/tree_image.h"

/* Where signals come faster than images are written. */
#define LOOKS_MAX 10

/* Its timer expires in the restored task: there it is armed still. */
static bool comes_again(const struct task *t, const SignalQueueEntry *before, const siginfo_t *info)
{
	const ItimerEntry *i = signal_queue_itimer(t, info);
	const PosixTimerEntry *p = signal_queue_posix_timer(t, info);

	return !signal_queue_has(before, info) && ((i && (i->vsec || i->vusec)) || (p && (p->vsec || p->vnsec)));
}

static bool is_same_queue(const SignalQueueEntry *a, const SignalQueueEntry *b)
{
	bool same = a->n_signals == b->n_signals;

	for (size_t i = 0; same && i < a->n_signals; i++)
		same = !memcmp(a->signals[i]->siginfo.data, b->signals[i]->siginfo.data, sizeof(siginfo_t));
	return same;
}

static int read_again(struct dump *d, const struct thread *th, bool shared, SignalQueueEntry **queue, bool *changed)
{
	SignalQueueEntry *now;
	size_t n = 0;
	int err = signal_queue_read(d, th, shared, &now);

	for (size_t i = 0; !err && i < now->n_signals; i++) {
		siginfo_t info = signal_queue_info(now, i);

		if (!comes_again(th->task, *queue, &info) && !signal_queue_is_idle_stop(th->task, &info))
			now->signals[n++] = now->signals[i];
	}
	if (err)
		return err;
	now->n_signals = n;
	*changed |= !is_same_queue(*queue, now);
	*queue = now;
	return 0;
}

/* Nothing but SIGCONT ends the stop of a task, and no SIGCONT is pending in one that is stopped. */
static void note_continued(struct task *t, const struct thread *th, const SignalQueueEntry *q)
{
	TaskCoreEntry *tc = t->threads[0].core->tc;

	if (t->state != TASK_STOPPED || !signal_queue_has_number(q, SIGCONT))
		return;
	log_debug("%s: was continued meanwhile", task_thread_name(th));
	t->state = tc->task_state = TASK_ALIVE;
	tc->has_stop_signo = false;
}

static int read_thread(struct dump *d, struct thread *th, bool *changed)
{
	struct task *t = th->task;
	TaskCoreEntry *tc = th->core->tc;
	int err = read_again(d, th, false, &th->core->thread_core->signals_p, changed);

	if (!err && th == t->threads)
		err = read_again(d, th, true, &tc->signals_s, changed);
	if (!err)
		note_continued(t, th, th->core->thread_core->signals_p);
	if (!err && th == t->threads)
		note_continued(t, th, tc->signals_s);
	return err;
}

/* *unsealed: the images may be changed now. */
static int look_at_thread(struct dump *d, struct thread *th, bool *unsealed)
{
	uint32_t state = th->task->state;
	bool changed = false;
	int err;

	/* Most have nothing and had nothing. Why this could not be asked is seen below. */
	if (th != th->task->threads && !th->core->thread_core->signals_p->n_signals && signal_queue_is_empty(th) > 0)
		return 0;
	/* By the post-dump script, maybe: the images are whole. */
	if (!ptrace_is_stopped(th->tid)) {
		log_info("%s: was killed during the dump", task_thread_name(th));
		return 0;
	}
	err = read_thread(d, th, &changed);
	if (err || !changed)
		return err;
	log_debug("%s: signals came during the dump", task_thread_name(th));
	if (!*unsealed && image_dir_sealed(d->dir)) /* else pages are still to be written */
		err = image_dir_unseal(d->dir);
	*unsealed = !err;
	if (!err)
		err = tree_write_core(d, th);
	return !err && th->task->state != state && th != th->task->threads ? tree_write_core(d, th->task->threads)
	                                                                   : err;
}

static int take_last_signals(struct dump *d)
{
	bool unsealed = true, sealed = image_dir_sealed(d->dir);
	int err = 0;

	for (int looks = 0; !err && unsealed && looks < LOOKS_MAX; looks++) {
		unsealed = false;
		for (size_t i = 0; !err && i < d->tree.n_tasks; i++) {
			struct task *t = d->tree.tasks[i];

			for (size_t k = 0; !err && t->state != TASK_DEAD && k < t->n_threads; k++)
				err = look_at_thread(d, &t->threads[k], &unsealed);
		}
		if (!err && unsealed && sealed)
			err = image_dir_seal(d->dir);
	}
	return err;
}

const struct subsys signal_last_subsys = {
	.name = "signals that came meanwhile",
	.before_commit = take_last_signals,
};
