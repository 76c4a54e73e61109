/* SPDX-License-Identifier: GPL-2.0-only */
/* The signal that a thread gets when its parent ends: PR_SET_PDEATHSIG. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

static int pdeath_signal_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_PDEATHSIG, batch_space(b, sizeof(int32_t), datap));
	return 0;
}

static int pdeath_signal_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int32_t sig = *(const int32_t *)ans->data;

	if (answer_ret(ans, 0) || sig < 0 || sig >= NSIG)
		return log_errno(-EPROTO, "%s: prctl(PR_GET_PDEATHSIG) failed", task_thread_name(th));
	core->has_pdeath_sig = sig != 0;
	core->pdeath_sig = (uint32_t)sig;
	return 0;
}

static int pdeath_signal_check(struct restore *r, const struct thread *th)
{
	if (th->core->thread_core->pdeath_sig >= NSIG)
		return log_errno(-EINVAL, "%s: its image has parent-death signal %u", task_thread_name(th),
		                 th->core->thread_core->pdeath_sig);
	return 0;
}

/* The parent of the root task is criu, and that ends when all is done. */
static bool outlives_parent(const struct restore *r, const struct thread *th)
{
	return !th->task->parent && r->opts->restore_detached && !r->opts->restore_sibling;
}

static int pdeath_signal_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (th->core->thread_core->pdeath_sig && outlives_parent(r, th))
		log_warn("%s: gets signal %u when its parent ends (PR_SET_PDEATHSIG); with --restore-detached that "
		         "would be at once: it is left out; restore without that option, or with --restore-sibling",
		         task_thread_name(th), th->core->thread_core->pdeath_sig);
	else if (th->core->thread_core->pdeath_sig)
		batch_call(b, SYS_prctl, PR_SET_PDEATHSIG, th->core->thread_core->pdeath_sig);
	return 0;
}

/* When the leader ends again, its children count as its own, and the kernel sends them the signal. */
static int pdeath_signal_all_collected(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if (t->state == TASK_DEAD || !t->parent || !t->parent->dead_leader)
			continue;
		for (size_t k = 0; k < t->n_threads; k++)
			if (t->threads[k].core->thread_core && t->threads[k].core->thread_core->pdeath_sig)
				err = log_refusal(
				    -ENOTSUP,
				    "%s: gets signal %u when its parent ends (PR_SET_PDEATHSIG), and the main "
				    "thread of its parent, pid %d (%s), has ended already; have it set again, or to 0, "
				    "before "
				    "the dump",
				    task_thread_name(&t->threads[k]), t->threads[k].core->thread_core->pdeath_sig,
				    task_id(t->parent), t->parent->comm);
	}
	return err;
}

const struct task_part pdeath_signal_part = {
	.name = "parent-death signal",
	.per_thread = true,
	.ask = pdeath_signal_ask,
	.dump = pdeath_signal_dump,
	.all_collected = pdeath_signal_all_collected,
	.check = pdeath_signal_check,
	.restore = pdeath_signal_restore,
};
