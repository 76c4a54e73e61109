/* SPDX-License-Identifier: GPL-2.0-only */
/* Signal actions: rt_sigaction(2), with the structure as the kernel has it. Shared by tasks with CLONE_SIGHAND. */
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

#define SIGSET_SIZE 8
#define N_ACTIONS   62 /* in the images: SIGKILL and SIGSTOP have none */

struct kernel_sigaction {
	uint64_t handler, flags, restorer, mask;
};

/* The signal of entry i. */
static unsigned signal_of(unsigned i)
{
	unsigned sig = i + 1;

	sig += sig >= SIGKILL;
	return sig + (sig >= SIGSTOP);
}

static int sigaction_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct kernel_sigaction) * N_ACTIONS, datap);

	for (unsigned i = 0; i < N_ACTIONS; i++)
		batch_ask(b, SYS_rt_sigaction, signal_of(i), 0, at + i * sizeof(struct kernel_sigaction), SIGSET_SIZE);
	return 0;
}

static int sigaction_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct kernel_sigaction *actions = ans->data;
	TaskCoreEntry *tc = th->core->tc;

	for (unsigned i = 0; i < N_ACTIONS; i++) {
		SaEntry *e = arena_msg(d->arena, SaEntry, sa_entry);

		if (answer_ret(ans, i))
			return log_errno((int)answer_ret(ans, i), "%s: reading its action for signal %u",
			                 task_name(th->task), signal_of(i));
		e->sigaction = actions[i].handler;
		e->flags = actions[i].flags;
		e->restorer = actions[i].restorer;
		e->mask = actions[i].mask;
		e->has_compat_sigaction = true;
		arena_push(d->arena, &tc->sigactions, &tc->n_sigactions, e);
	}
	return 0;
}

static int sigaction_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;

	/* CRIU leaves them out where another task shares them. */
	if (tc->n_sigactions != N_ACTIONS && (tc->n_sigactions || tree_first_sighand(&r->tree, th->task) == th->task))
		return log_errno(-EINVAL, "%s: its image has %zu signal actions, %d are there", task_name(th->task),
		                 tc->n_sigactions, N_ACTIONS);
	for (size_t i = 0; i < tc->n_sigactions; i++)
		if (tc->sigactions[i]->compat_sigaction)
			return log_refusal(-EOPNOTSUPP,
			                   "%s: its action for signal %u is of 32-bit code, which is not supported",
			                   task_name(th->task), signal_of((unsigned)i));
	return 0;
}

static void set_action(struct batch *b, unsigned sig, const struct kernel_sigaction *action)
{
	raddr_t at = batch_data(b, action, sizeof(*action));

	batch_call(b, SYS_rt_sigaction, sig, at, 0, SIGSET_SIZE);
}

static int sigaction_restore(struct restore *r, struct thread *th, struct batch *b)
{
	static const struct kernel_sigaction none;
	const struct task *first = tree_first_sighand(&r->tree, th->task);
	const TaskCoreEntry *tc = first->threads[0].core->tc;

	/* An action that ignores it drops what the restore itself has queued for this task: the ends of its helpers. */
	set_action(b, SIGCHLD, &none);
	for (unsigned i = 0; i < tc->n_sigactions; i++) {
		if (first != th->task && signal_of(i) != SIGCHLD)
			continue;
		const SaEntry *e = tc->sigactions[i];
		struct kernel_sigaction action = { e->sigaction, e->flags, e->restorer, e->mask };

		set_action(b, signal_of(i), &action);
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
