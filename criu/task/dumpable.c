/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel resets when credentials change (prctl(2)): whether a core may be dumped (mm_entry has it, and mm/ has
 * filled it), and the parent-death signal.
 */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

/* A dump by root alone, which only fs.suid_dumpable gives and prctl() does not take. */
#define DUMPABLE_BY_ROOT 2

static int after_creds_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(int32_t), datap);

	batch_ask(b, SYS_prctl, PR_GET_PDEATHSIG, at);
	return 0;
}

static int after_creds_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int32_t sig = *(const int32_t *)ans->data;

	if (answer_ret(ans, 0) || sig < 0 || sig >= NSIG)
		return log_errno(-EPROTO, "%s: its parent-death signal could not be read", task_thread_name(th));
	core->has_pdeath_sig = sig != 0;
	core->pdeath_sig = (uint32_t)sig;
	return 0;
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
