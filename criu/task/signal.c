/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signals that a process and each of its threads block, and those that are pending, with all that is known of them:
 * ptrace(2), rt_sigqueueinfo(2). (Masks come back with the registers: rt_sigreturn(2) sets both.)
 */
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch/arch_abi.h"
#include "lib/log.h"
#include "task/answer.h"
#include "task/signal_queue.h"
#include "task/timer.h"
#include "tree/pid_numbers.h"

/* ---- dump ---- */

/* Which signal stopped a stopped task: to a tracer that has seized it so, the kernel shows that signal. */
static void peek_stop(struct thread *th)
{
	TaskCoreEntry *tc = th->core->tc;
	siginfo_t info;

	if (th->task->state != TASK_STOPPED || ptrace(PTRACE_GETSIGINFO, th->tid, NULL, &info))
		return;
	if (info.si_signo != SIGSTOP && info.si_signo != SIGTSTP && info.si_signo != SIGTTIN &&
	    info.si_signo != SIGTTOU)
		return;
	tc->has_stop_signo = true;
	tc->stop_signo = (uint32_t)info.si_signo;
}

static int signal_peek(struct dump *d, struct thread *th)
{
	const struct thread_seen *seen = th->dump->seen;
	int err = 0;

	/* What has come since is seen at the last look. */
	if (seen && seen->shown & SHOWN_QUEUE && !seen->pending)
		th->core->thread_core->signals_p = arena_msg(d->arena, SignalQueueEntry, signal_queue_entry);
	else
		err = signal_queue_read(d, th, false, &th->core->thread_core->signals_p);
	if (err || !is_leader(th))
		return err;
	peek_stop(th);
	return signal_queue_read(d, th, true, &th->core->tc->signals_s);
}

static int signal_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	if (is_leader(th)) {
		th->core->tc->blk_sigset = th->dump->sigmask;
		return 0;
	}
	th->core->thread_core->has_blk_sigset = true;
	th->core->thread_core->blk_sigset = th->dump->sigmask;
	return 0;
}

static void drop_stops(SignalQueueEntry *q)
{
	size_t n = 0;

	for (size_t i = 0; q && i < q->n_signals; i++) {
		int32_t sig;

		memcpy(&sig, q->signals[i]->siginfo.data, sizeof(sig));
		if (sig != SIGSTOP)
			q->signals[n++] = q->signals[i];
	}
	if (q)
		q->n_signals = n;
}

/*
 * A SIGSTOP that waits for a stopped task does nothing, since the SIGCONT that lets the task run takes it away. CRIU
 * would stop the task twice: its images do not have it.
 */
static int signal_write(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if (t->state != TASK_STOPPED)
			continue;
		drop_stops(t->threads[0].core->tc->signals_s);
		for (size_t j = 0; j < t->n_threads; j++)
			drop_stops(t->threads[j].core->thread_core->signals_p);
	}
	return 0;
}

/* ---- restore ---- */

static int check_queue(const struct thread *th, const SignalQueueEntry *q)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *bytes = &q->signals[i]->siginfo;
		int32_t sig;

		if (bytes->len != ARCH_SIGINFO_SIZE)
			return log_errno(-EINVAL, "%s: its image has a pending signal of %zu bytes",
			                 task_thread_name(th), bytes->len);
		memcpy(&sig, bytes->data, sizeof(sig));
		if (sig < 1 || sig >= NSIG || sig == SIGKILL)
			return log_errno(-EINVAL, "%s: its image has a pending signal %d", task_thread_name(th), sig);
	}
	return 0;
}

static int signal_check(struct restore *r, const struct thread *th)
{
	int err = check_queue(th, th->core->thread_core->signals_p);

	return err || !is_leader(th) ? err : check_queue(th, th->core->tc->signals_s);
}

/* Its timer sends it, when timer_arm_part arms it as one that has expired. */
static bool is_left_to_timer(const struct task *t, const siginfo_t *info, bool shared)
{
	const PosixTimerEntry *p = signal_queue_posix_timer(t, info);
	const ItimerEntry *i = signal_queue_itimer(t, info);

	return (p && timer_has_expired(p)) || (shared && i && info->si_signo == SIGALRM && timer_is_waiting(i));
}

/* The timer that sent a signal is gone or a new one: what the kernel kept in here to find the old one must not be used.
 */
static void cut_timer(siginfo_t *info)
{
	size_t at = offsetof(siginfo_t, si_value) + sizeof(info->si_value);

	if (info->si_code == SI_TIMER)
		memset((char *)info + at, 0, sizeof(*info) - at);
}

/*
 * A task may send itself any siginfo (kernel/signal.c, do_rt_sigqueueinfo). All signals are blocked but SIGSTOP, which
 * cannot be: signal_finish() sends that one.
 */
static void send_queue(const struct restore *r, const struct thread *th, struct batch *b, const SignalQueueEntry *q,
                       bool shared)
{
	pid_t pid = pid_number_for(&r->tree, th->task, th->task->vpid);
	pid_t tid = pid_number_for(&r->tree, th->task, th->vtid);

	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t info = signal_queue_info(q, i);
		raddr_t at;

		if (info.si_signo == SIGSTOP || is_left_to_timer(th->task, &info, shared))
			continue;
		cut_timer(&info);
		at = batch_data(b, &info, sizeof(info));
		if (shared)
			batch_call(b, SYS_rt_sigqueueinfo, (uint64_t)pid, (uint64_t)info.si_signo, at);
		else
			batch_call(b, SYS_rt_tgsigqueueinfo, (uint64_t)pid, (uint64_t)tid, (uint64_t)info.si_signo, at);
	}
}

static int signal_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (is_leader(th))
		send_queue(r, th, b, th->core->tc->signals_s, true);
	send_queue(r, th, b, th->core->thread_core->signals_p, false);
	return 0;
}

/* The thread is in a ptrace stop, and takes the signal when it is resumed. Also one that came during the restore. */
static int signal_finish(struct restore *r, struct thread *th)
{
	bool stop = th->restore->agent->stop_came ||
	            signal_queue_has_number(th->core->thread_core->signals_p, SIGSTOP) ||
	            (is_leader(th) && signal_queue_has_number(th->core->tc->signals_s, SIGSTOP));

	if (stop && syscall(SYS_tgkill, th->task->pid, th->tid, SIGSTOP))
		return log_errno(-errno, "%s: sending the pending SIGSTOP: tgkill", task_thread_name(th));
	return 0;
}

const struct task_part signal_part = {
	.name = "blocked and pending signals",
	.per_thread = true,
	.peek = signal_peek,
	.dump = signal_dump,
	.check = signal_check,
	.restore = signal_restore,
	.finish = signal_finish,
	.write_images = signal_write,
};
