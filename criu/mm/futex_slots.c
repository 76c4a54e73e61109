/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How many slots a process has for its private futexes: PR_FUTEX_HASH, from Linux 6.16 on. The kernel chooses by
 * threads and processors, or the program does, which it may do for speed alone, and the kernel does not tell which. So
 * a process has no fewer than it had; and none (0: those of the machine), which only programs with threads choose.
 */
#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"
#include "tree/kind.h"
#include "uapi/prctl_new.h"

static int futex_slots_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_prctl, PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS);
	return 0;
}

static int futex_slots_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;

	tc->has_futex_slots =
	    ans->op->flags & AGENT_OP_DONE && ans->op->ret >= 0 && (ans->op->ret > 0 || th->task->n_threads > 1);
	tc->futex_slots = tc->has_futex_slots ? (uint32_t)ans->op->ret : 0;
	return 0;
}

static int futex_slots_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const TaskCoreEntry *tc = th->core->tc;
	int op, err;

	if (!tc->has_futex_slots || tree_first_vm(&r->tree, th->task) != th->task)
		return 0;
	batch_reserve(b, 1, 0);
	op = batch_ask(b, SYS_prctl, PR_FUTEX_HASH, PR_FUTEX_HASH_GET_SLOTS);
	err = batch_run(b);
	if (err || batch_ret(b, op) < 0 || batch_ret(b, op) == tc->futex_slots ||
	    (tc->futex_slots && batch_ret(b, op) > tc->futex_slots))
		return err;
	batch_reserve(b, 1, 0);
	op = batch_ask(b, SYS_prctl, PR_FUTEX_HASH, PR_FUTEX_HASH_SET_SLOTS, tc->futex_slots);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_debug("%s: prctl(PR_FUTEX_HASH) with %u slots: %d", task_name(th->task), tc->futex_slots,
		          (int)batch_ret(b, op));
	return err;
}

const struct task_part futex_slots_part = {
	.name = "slots for futexes",
	.ask = futex_slots_ask,
	.dump = futex_slots_dump,
	.restore = futex_slots_restore,
};
