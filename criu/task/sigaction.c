/* SPDX-License-Identifier: GPL-2.0-only */
/* Signal actions: rt_sigaction(2). Tasks made with CLONE_SIGHAND share them. */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "arch/arch_abi.h"
#include "arch/arch_compat.h"
#include "lib/log.h"
#include "task/answer.h"
#include "task/creds.h"

#define N_ACTIONS 62 /* in the images: SIGKILL and SIGSTOP have none */

/* The signal of entry i. */
static unsigned action_signal(unsigned i)
{
	unsigned sig = i + 1;

	sig += sig >= SIGKILL;
	return sig + (sig >= SIGSTOP);
}

static int sigaction_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct arch_sigaction) * N_ACTIONS, datap);

	for (unsigned i = 0; i < N_ACTIONS; i++)
		batch_ask(b, SYS_rt_sigaction, action_signal(i), 0, at + i * sizeof(struct arch_sigaction),
		          ARCH_SIGSET_SIZE);
	return 0;
}

static int sigaction_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct arch_sigaction *actions = ans->data;
	TaskCoreEntry *tc = th->core->tc;

	for (unsigned i = 0; i < N_ACTIONS; i++) {
		SaEntry *e = arena_msg(d->arena, SaEntry, sa_entry);

		if (answer_ret(ans, i))
			return log_errno((int)answer_ret(ans, i), "%s: rt_sigaction of signal %u", task_name(th->task),
			                 action_signal(i));
		e->sigaction = actions[i].handler;
		e->flags = actions[i].flags;
		e->restorer = actions[i].restorer;
		e->mask = actions[i].mask;
		e->has_compat_sigaction = true;
		e->compat_sigaction = th->task->compat;
		arena_push(d->arena, &tc->sigactions, &tc->n_sigactions, e);
	}
	return 0;
}

static int sigaction_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;

	/* CRIU leaves the actions out where another task shares them. */
	if (tc->n_sigactions != N_ACTIONS && (tc->n_sigactions || tree_first_sighand(&r->tree, th->task) == th->task))
		return log_errno(-EINVAL, "%s: its image has %zu signal actions instead of %d", task_name(th->task),
		                 tc->n_sigactions, N_ACTIONS);
	for (size_t i = 0; i < tc->n_sigactions; i++)
		if (tc->sigactions[i]->compat_sigaction != th->task->compat)
			return log_refusal(-EOPNOTSUPP,
			                   "%s: its action for signal %u is of %s code, which is not supported in a "
			                   "program that is not",
			                   task_name(th->task), action_signal((unsigned)i),
			                   th->task->compat ? "64-bit" : "32-bit");
	return 0;
}

/* The frame of a handler is that of the call which installed it. */
static void set_compat_action(struct batch *b, unsigned sig, const struct arch_sigaction *action)
{
	struct arch_compat_sigaction compat = {
		.handler = (uint32_t)action->handler,
		.flags = (uint32_t)action->flags,
		.restorer = (uint32_t)action->restorer,
		.mask = { (uint32_t)action->mask, (uint32_t)(action->mask >> 32) },
	};
	raddr_t at = batch_data(b, &compat, sizeof(compat));

	batch_add(b, COMPAT_NR_RT_SIGACTION, AGENT_OP_STOP | AGENT_OP_COMPAT,
	          (const uint64_t[6]) { sig, at, 0, ARCH_SIGSET_SIZE });
}

static void set_action(struct batch *b, unsigned sig, const struct arch_sigaction *action)
{
	raddr_t at = batch_data(b, action, sizeof(*action));

	batch_call(b, SYS_rt_sigaction, sig, at, 0, ARCH_SIGSET_SIZE);
}

/* An execve(2) has set all actions back, but for signals that criu's caller ignores, and a fork has what that left. */
static bool had_at_birth(const struct proc_status *born, unsigned sig, const struct arch_sigaction *action)
{
	static const struct arch_sigaction usual;

	return !memcmp(action, &usual, sizeof(usual)) && !((born->sig_ignored | born->sig_caught) >> (sig - 1) & 1);
}

static int sigaction_restore(struct restore *r, struct thread *th, struct batch *b)
{
	static const struct arch_sigaction none;
	const struct task *first = tree_first_sighand(&r->tree, th->task);
	const TaskCoreEntry *tc = first->threads[0].core->tc;
	const struct proc_status *born = creds_at_birth(r, th);

	if (!born)
		return -ESRCH;
	/*
	 * With the default action, which ignores SIGCHLD, the kernel drops what the restore itself has queued for this
	 * task: the ends of its helpers.
	 */
	set_action(b, SIGCHLD, &none);
	for (unsigned i = 0; i < tc->n_sigactions; i++) {
		if (first != th->task && action_signal(i) != SIGCHLD)
			continue;
		const SaEntry *e = tc->sigactions[i];
		struct arch_sigaction action = { e->sigaction, e->flags, e->restorer, e->mask };

		if (had_at_birth(born, action_signal(i), &action)) /* SIGCHLD has its own by now */
			continue;
		if (e->compat_sigaction)
			set_compat_action(b, action_signal(i), &action);
		else
			set_action(b, action_signal(i), &action);
	}
	return 0;
}

const struct task_part sigaction_part = {
	.name = "signal actions",
	.ask = sigaction_ask,
	.dump = sigaction_dump,
	.check = sigaction_check,
	.restore = sigaction_restore,
};
