/* SPDX-License-Identifier: GPL-2.0-only */
/* Pending signals of a process and of each thread, with all that is known of them: ptrace(2), rt_sigqueueinfo(2). */
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

#define INFO_SIZE    128
#define INFOS_A_CALL 128

/* linux/ptrace.h, which does not go with sys/ptrace.h. */
struct peek_args {
	uint64_t off;
	uint32_t flags;
	int32_t nr;
};

#define PEEK_SHARED 1U

_Static_assert(sizeof(siginfo_t) == INFO_SIZE, "siginfo_t as the kernel has it");

/* ---- dump ---- */

static int peek_queue(struct dump *d, struct thread *th, uint32_t flags, SignalQueueEntry **out)
{
	SignalQueueEntry *q = *out = arena_msg(d->arena, SignalQueueEntry, signal_queue_entry);
	siginfo_t infos[INFOS_A_CALL];
	long n;

	do {
		struct peek_args args = { .off = q->n_signals, .flags = flags, .nr = INFOS_A_CALL };

		n = ptrace(PTRACE_PEEKSIGINFO, th->tid, &args, infos);
		if (n < 0)
			return log_errno(-errno, "%s: reading its pending signals", task_thread_name(th));
		for (long i = 0; i < n; i++) {
			SiginfoEntry *e = arena_msg(d->arena, SiginfoEntry, siginfo_entry);

			e->siginfo.data = arena_memdup(d->arena, &infos[i], INFO_SIZE);
			e->siginfo.len = INFO_SIZE;
			arena_push(d->arena, &q->signals, &q->n_signals, e);
		}
	} while (n == INFOS_A_CALL);
	return 0;
}

/* Which signal stopped it, where it is stopped: the kernel makes one up for a tracer that seized it so. */
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
	int err = peek_queue(d, th, 0, &th->core->thread_core->signals_p);

	if (err || !is_leader(th))
		return err;
	peek_stop(th);
	return peek_queue(d, th, PEEK_SHARED, &th->core->tc->signals_s);
}

/* ---- restore ---- */

static int check_queue(const struct thread *th, const SignalQueueEntry *q)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		const ProtobufCBinaryData *bytes = &q->signals[i]->siginfo;
		int32_t sig;

		if (bytes->len != INFO_SIZE)
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

/* The timer that sent it is another one now: the kernel must not look for it by what it kept in here. */
static void cut_timer(siginfo_t *info)
{
	size_t at = offsetof(siginfo_t, si_value) + sizeof(info->si_value);

	if (info->si_code == SI_TIMER)
		memset((char *)info + at, 0, sizeof(*info) - at);
}

/*
 * To itself a task may send any siginfo (kernel/signal.c, do_rt_sigqueueinfo). All signals are blocked. A SIGSTOP
 * cannot be: it is sent by finish().
 */
static void queue(const struct thread *th, struct batch *b, const SignalQueueEntry *q, bool shared)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t info;
		raddr_t at;

		memcpy(&info, q->signals[i]->siginfo.data, sizeof(info));
		if (info.si_signo == SIGSTOP)
			continue;
		cut_timer(&info);
		at = batch_data(b, &info, sizeof(info));
		if (shared)
			batch_call(b, SYS_rt_sigqueueinfo, (uint64_t)th->task->vpid.v, (uint64_t)info.si_signo, at);
		else
			batch_call(b, SYS_rt_tgsigqueueinfo, (uint64_t)th->task->vpid.v, (uint64_t)th->vtid.v,
			           (uint64_t)info.si_signo, at);
	}
}

static int signal_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (is_leader(th))
		queue(th, b, th->core->tc->signals_s, true);
	queue(th, b, th->core->thread_core->signals_p, false);
	return 0;
}

static bool has_stop(const SignalQueueEntry *q)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		int32_t sig;

		memcpy(&sig, q->signals[i]->siginfo.data, sizeof(sig));
		if (sig == SIGSTOP)
			return true;
	}
	return false;
}

/* It is in a ptrace stop, and takes the signal when it is let go. */
static int signal_finish(struct restore *r, struct thread *th)
{
	bool stop = has_stop(th->core->thread_core->signals_p) || (is_leader(th) && has_stop(th->core->tc->signals_s));

	if (stop && syscall(SYS_tgkill, th->task->pid, th->tid, SIGSTOP))
		return log_errno(-errno, "%s: sending it the SIGSTOP that was pending", task_thread_name(th));
	return 0;
}

const struct task_part signal_part = {
	.name = "pending signals",
	.per_thread = true,
	.peek = signal_peek,
	.check = signal_check,
	.restore = signal_restore,
	.finish = signal_finish,
};
