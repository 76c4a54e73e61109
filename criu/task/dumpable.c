/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel resets when credentials change (prctl(2)): whether a core may be dumped, which the address space has
 * (mm_entry), and the parent-death signal.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

/* A dump by root alone, which only fs.suid_dumpable gives and prctl() does not take. */
#define DUMPABLE_BY_ROOT 2

enum { ASK_PDEATHSIG, ASK_DUMPABLE };

static int after_creds_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(int32_t), datap);

	batch_ask(b, SYS_prctl, PR_GET_PDEATHSIG, at);
	if (is_leader(th))
		batch_ask(b, SYS_prctl, PR_GET_DUMPABLE);
	return 0;
}

/* A task that shares the memory of an earlier one gives the same answer again. */
static int dump_dumpable(struct dump *d, const struct thread *th, const struct answers *ans)
{
	MmEntry *mm = tree_first_vm(&d->tree, th->task)->mm;
	int64_t dumpable = answer_ret(ans, ASK_DUMPABLE);

	if (dumpable < 0)
		return log_errno((int)dumpable, "%s: prctl(PR_GET_DUMPABLE) in the task", task_name(th->task));
	mm->has_dumpable = true;
	mm->dumpable = (int32_t)dumpable;
	return 0;
}

static int after_creds_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int32_t sig = *(const int32_t *)ans->data;

	if (answer_ret(ans, ASK_PDEATHSIG) || sig < 0 || sig >= NSIG)
		return log_errno(-EPROTO, "%s: its parent-death signal could not be read", task_thread_name(th));
	core->has_pdeath_sig = sig != 0;
	core->pdeath_sig = (uint32_t)sig;
	return is_leader(th) ? dump_dumpable(d, th, ans) : 0;
}

static int after_creds_check(struct restore *r, const struct thread *th)
{
	if (th->core->thread_core->pdeath_sig >= NSIG)
		return log_errno(-EINVAL, "%s: its image names the parent-death signal %u", task_thread_name(th),
		                 th->core->thread_core->pdeath_sig);
	return 0;
}

/* Each thread sets it again: it is the process's, and every one of them may have reset it. */
static int after_creds_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	const MmEntry *mm = th->task->mm;
	bool dumpable = !mm->has_dumpable || mm->dumpable == 1;

	if (is_leader(th) && mm->has_dumpable && mm->dumpable == DUMPABLE_BY_ROOT)
		log_warn("%s: a core of it could be dumped by root alone (fs.suid_dumpable = 2); now by nobody",
		         task_name(th->task));
	batch_call(b, SYS_prctl, PR_SET_DUMPABLE, dumpable);
	if (core->pdeath_sig)
		batch_call(b, SYS_prctl, PR_SET_PDEATHSIG, core->pdeath_sig);
	return 0;
}

const struct task_part dumpable_part = {
	.name = "dumpable, parent-death signal",
	.per_thread = true,
	.ask = after_creds_ask,
	.dump = after_creds_dump,
	.check = after_creds_check,
	.restore = after_creds_restore,
};
