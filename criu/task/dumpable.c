/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a process may be traced and its core be dumped: PR_SET_DUMPABLE. A property of the address space (mm_entry).
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"

/* A dump by root alone, which only fs.suid_dumpable gives and prctl() does not take. */
#define DUMPABLE_BY_ROOT 2

static int dumpable_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	if (is_leader(th))
		batch_ask(b, SYS_prctl, PR_GET_DUMPABLE);
	return 0;
}

/* A task that shares the memory of an earlier one gives the same answer again. */
static int dumpable_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	MmEntry *mm = tree_first_vm(&d->tree, th->task)->mm;
	int64_t dumpable;

	if (!is_leader(th))
		return 0;
	dumpable = answer_ret(ans, 0);
	if (dumpable < 0)
		return log_errno((int)dumpable, "%s: prctl(PR_GET_DUMPABLE)", task_name(th->task));
	mm->has_dumpable = true;
	mm->dumpable = (int32_t)dumpable;
	return 0;
}

/* Each thread sets it, since the change of any thread's credentials may have reset it for all. */
static int dumpable_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const MmEntry *mm = th->task->mm;
	bool dumpable = !mm->has_dumpable || mm->dumpable == 1;

	if (is_leader(th) && mm->has_dumpable && mm->dumpable == DUMPABLE_BY_ROOT)
		log_warn("%s: only root could dump a core of it (fs.suid_dumpable = 2); now no core can be dumped",
		         task_name(th->task));
	batch_call(b, SYS_prctl, PR_SET_DUMPABLE, dumpable);
	return 0;
}

const struct task_part dumpable_part = {
	.name = "dumpable",
	.per_thread = true,
	.ask = dumpable_ask,
	.dump = dumpable_dump,
	.restore = dumpable_restore,
};
