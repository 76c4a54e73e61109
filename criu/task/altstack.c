/* SPDX-License-Identifier: GPL-2.0-only */
/* The alternate signal stack of each thread: sigaltstack(2). */
#include <sys/syscall.h>

#include "arch/arch_abi.h"
#include "lib/log.h"
#include "task/answer.h"

#define SAS_AUTODISARM (1U << 31)
#define SAS_DISABLE    2U

static int altstack_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_sigaltstack, 0, batch_space(b, sizeof(struct arch_stack), datap));
	return 0;
}

static int altstack_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct arch_stack stack = *(const struct arch_stack *)ans->data;
	ThreadSasEntry *e;

	if (answer_ret(ans, 0))
		return log_errno((int)answer_ret(ans, 0), "%s: sigaltstack", task_thread_name(th));
	e = th->core->thread_core->sas = arena_msg(d->arena, ThreadSasEntry, thread_sas_entry);
	e->ss_sp = stack.sp;
	e->ss_size = stack.size;
	e->ss_flags = stack.flags;
	return 0;
}

/* A new thread has none. */
static int altstack_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadSasEntry *e = th->core->thread_core->sas;
	struct arch_stack stack;

	if (!e || (e->ss_flags & SAS_DISABLE) || !e->ss_size)
		return 0;
	stack = (struct arch_stack) { .sp = e->ss_sp, .flags = e->ss_flags & SAS_AUTODISARM, .size = e->ss_size };
	batch_call(b, SYS_sigaltstack, batch_data(b, &stack, sizeof(stack)), 0);
	return 0;
}

const struct task_part altstack_part = {
	.name = "alternate stack",
	.per_thread = true,
	.ask = altstack_ask,
	.dump = altstack_dump,
	.restore = altstack_restore,
};
