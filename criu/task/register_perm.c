/* SPDX-License-Identifier: GPL-2.0-only */
/* Permission to use register state so large that the kernel gives it only to processes that ask for it (AMX). */
#include <sys/syscall.h>

#include "arch/arch.h"
#include "task/answer.h"

static int register_perm_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(uint64_t), datap);
	struct arch_call call;

	if (is_leader(th) && arch_perm_ask(at, &call))
		batch_add(b, (unsigned)call.nr, 0, call.arg);
	return 0;
}

static int register_perm_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	if (is_leader(th))
		arch_perm_to_core(d->arena, th->core, *(const uint64_t *)ans->data);
	return 0;
}

/* The permission is the process's; the image of any of its threads may hold it. */
static void request_perm(const struct task *t, struct batch *b)
{
	struct arch_call call;

	for (size_t i = 0; i < t->n_threads; i++) {
		if (!arch_perm_request(t->threads[i].core, &call))
			continue;
		batch_add(b, (unsigned)call.nr, AGENT_OP_STOP, call.arg);
		return;
	}
}

static int register_perm_restore(struct restore *r, struct thread *th, struct batch *b)
{
	if (is_leader(th))
		request_perm(th->task, b);
	if (arch_state_is_large(th->core))
		batch_add(b, 0, AGENT_OP_TOUCH, (const uint64_t[6]) { 0 });
	return 0;
}

const struct task_part register_perm_part = {
	.name = "permission for large register state",
	.per_thread = true,
	.ask = register_perm_ask,
	.dump = register_perm_dump,
	.restore = register_perm_restore,
};
