/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory-deny-write-execute: PR_SET_MDWE of prctl(2), from Linux 6.3 on. A property of an address space. */
#include <sys/syscall.h>

#include "task/answer.h"
#include "uapi/prctl_new.h"

static int mdwe_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_MDWE);
	return 0;
}

static int mdwe_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;
	int64_t mdwe = answer_ret(ans, 0); /* -EINVAL before Linux 6.3 */

	tc->has_mdwe = mdwe > 0;
	tc->mdwe = mdwe > 0 ? (uint32_t)mdwe : 0;
	return 0;
}

/* All mappings exist by now. New ones that are writable and executable are forbidden, but the agent makes none. */
static int mdwe_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;

	if (tc->mdwe && tree_first_vm(&r->tree, th->task) == th->task)
		batch_call(b, SYS_prctl, PR_SET_MDWE, tc->mdwe);
	return 0;
}

const struct task_part mdwe_part = {
	.name = "memory-deny-write-execute",
	.ask = mdwe_ask,
	.dump = mdwe_dump,
	.restore = mdwe_restore,
};
