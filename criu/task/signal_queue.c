/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/ptrace.h>

#include "arch/arch_abi.h"
#include "lib/log.h"
#include "task/signal_queue.h"

#define INFOS_A_CALL 128

_Static_assert(sizeof(siginfo_t) == ARCH_SIGINFO_SIZE, "siginfo_t as the kernel has it");

int signal_queue_read(struct dump *d, const struct thread *th, bool shared, SignalQueueEntry **out)
{
	SignalQueueEntry *q = *out = arena_msg(d->arena, SignalQueueEntry, signal_queue_entry);
	siginfo_t infos[INFOS_A_CALL];
	long n;

	do {
		struct __ptrace_peeksiginfo_args args = {
			.off = q->n_signals,
			.flags = shared ? PTRACE_PEEKSIGINFO_SHARED : 0,
			.nr = INFOS_A_CALL,
		};

		n = ptrace(PTRACE_PEEKSIGINFO, th->tid, &args, infos);
		if (n < 0)
			return log_errno(-errno, "%s: ptrace(PTRACE_PEEKSIGINFO)", task_thread_name(th));
		for (long i = 0; i < n; i++) {
			SiginfoEntry *e = arena_msg(d->arena, SiginfoEntry, siginfo_entry);

			e->siginfo.data = arena_memdup(d->arena, &infos[i], ARCH_SIGINFO_SIZE);
			e->siginfo.len = ARCH_SIGINFO_SIZE;
			arena_push(d->arena, &q->signals, &q->n_signals, e);
		}
	} while (n == INFOS_A_CALL);
	return 0;
}

int signal_queue_is_empty(const struct thread *th)
{
	struct __ptrace_peeksiginfo_args args = { .nr = 1 };
	siginfo_t info;
	long n = ptrace(PTRACE_PEEKSIGINFO, th->tid, &args, &info);

	return n < 0 ? -errno : n == 0;
}

siginfo_t signal_queue_info(const SignalQueueEntry *q, size_t i)
{
	siginfo_t info;

	memcpy(&info, q->signals[i]->siginfo.data, sizeof(info));
	return info;
}

bool signal_queue_has(const SignalQueueEntry *q, const siginfo_t *info)
{
	for (size_t i = 0; q && i < q->n_signals; i++) {
		siginfo_t one = signal_queue_info(q, i);

		if (one.si_signo == info->si_signo && one.si_code == info->si_code &&
		    (one.si_code != SI_TIMER || one.si_timerid == info->si_timerid))
			return true;
	}
	return false;
}

bool signal_queue_has_number(const SignalQueueEntry *q, int sig)
{
	for (size_t i = 0; q && i < q->n_signals; i++)
		if (signal_queue_info(q, i).si_signo == sig)
			return true;
	return false;
}

bool signal_queue_is_idle_stop(const struct task *t, const siginfo_t *info)
{
	return t->state == TASK_STOPPED && info->si_signo == SIGSTOP;
}

static int compare_id(const void *key, const void *element)
{
	uint32_t id = *(const uint32_t *)key, other = (*(PosixTimerEntry *const *)element)->it_id;

	return id < other ? -1 : id > other;
}

/* The timers are in the order of their numbers. */
PosixTimerEntry *signal_queue_posix_timer(const struct task *t, const siginfo_t *info)
{
	const TaskTimersEntry *all = t->threads[0].core->tc->timers;
	uint32_t id = (uint32_t)info->si_timerid;
	PosixTimerEntry **found = NULL;

	if (info->si_code == SI_TIMER && all && all->n_posix)
		found = bsearch(&id, all->posix, all->n_posix, sizeof(*all->posix), compare_id);
	return found && (*found)->si_signo == (uint32_t)info->si_signo ? *found : NULL;
}

ItimerEntry *signal_queue_itimer(const struct task *t, const siginfo_t *info)
{
	const TaskTimersEntry *all = t->threads[0].core->tc->timers;

	if (!all || info->si_code != SI_KERNEL)
		return NULL;
	return info->si_signo == SIGALRM     ? all->real
	       : info->si_signo == SIGVTALRM ? all->virt
	       : info->si_signo == SIGPROF   ? all->prof
	                                     : NULL;
}
