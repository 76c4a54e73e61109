/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether what a process maps from now on is locked: mlockall(2) with MCL_FUTURE, and MCL_ONFAULT. The agent's own
 * area was mapped last: if that is locked, all will be, and pages of it that nobody has used exist unless MCL_ONFAULT
 * is set.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "lib/log.h"
#include "tree/kind.h"

static int lock_future_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, 1, datap) & ~(raddr_t)(PAGE_SIZE - 1);

	batch_ask(b, SYS_madvise, at, PAGE_SIZE, MADV_COLD); /* no more than a hint; EINVAL: locked */
	return 0;
}

static bool is_populated(const struct agent *a)
{
	uintptr_t end = (uintptr_t)(a->space + a->space_size) & ~(uintptr_t)(PAGE_SIZE - 1);
	unsigned char present = 1;

	return mincore((void *)(end - PAGE_SIZE), PAGE_SIZE, &present) || present & 1;
}

static int lock_future_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;

	if (!(ans->op->flags & AGENT_OP_DONE) || ans->op->ret != -EINVAL)
		return 0;
	tc->has_lock_future = true;
	tc->lock_future = MCL_FUTURE | (is_populated(th->dump->agent) ? 0 : MCL_ONFAULT);
	return 0;
}

static int lock_future_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;

	if (!tc->has_lock_future || (tc->lock_future & ~(uint32_t)MCL_ONFAULT) == MCL_FUTURE)
		return 0;
	return log_errno(-EINVAL, "%s: its image has flags %x of mlockall", task_name(th->task), tc->lock_future);
}

/* Of an address space, and not inherited by children; nothing is mapped from here on. */
static int lock_future_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (th->core->tc->lock_future && tree_first_vm(&r->tree, th->task) == th->task)
		batch_call(b, SYS_mlockall, th->core->tc->lock_future);
	return 0;
}

const struct task_part lock_future_part = {
	.name = "locking of future mappings (mlockall)",
	.ask = lock_future_ask,
	.dump = lock_future_dump,
	.check = lock_future_check,
	.restore = lock_future_restore,
};
