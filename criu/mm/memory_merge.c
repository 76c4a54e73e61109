/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether all memory of a process, and what it will map, may be merged with equal pages: PR_SET_MEMORY_MERGE (KSM). */
#include <string.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "tree/kind.h"
#include "uapi/prctl_new.h"

static int memory_merge_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_GET_MEMORY_MERGE);
	return 0;
}

static int memory_merge_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;

	tc->has_memory_merge = tc->memory_merge = ans->op->flags & AGENT_OP_DONE && ans->op->ret == 1;
	return 0;
}

/* Of an address space; what was mapped is MADV_MERGEABLE by itself. Nothing but time and room depends on it. */
static int memory_merge_restore(struct restore *r, struct thread *th, struct batch *b)
{
	int op, err;

	if (!th->core->tc->memory_merge || tree_first_vm(&r->tree, th->task) != th->task)
		return 0;
	batch_reserve(b, 1, 0);
	op = batch_ask(b, SYS_prctl, PR_SET_MEMORY_MERGE, 1);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: its memory was to be merged with equal pages: prctl(PR_SET_MEMORY_MERGE): %s",
		         task_name(th->task), strerror((int)-batch_ret(b, op)));
	return err;
}

const struct task_part memory_merge_part = {
	.name = "merging of memory",
	.ask = memory_merge_ask,
	.dump = memory_merge_dump,
	.restore = memory_merge_restore,
};
