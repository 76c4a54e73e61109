/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel does in a thread's memory when the thread ends: it marks the robust futexes that the thread holds,
 * get_robust_list(2), and clears a word and wakes a futex there, set_tid_address(2).
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "arch/arch.h"
#include "arch/arch_abi.h"
#include "arch/arch_compat.h"
#include "lib/log.h"
#include "task/answer.h"

struct robust_answer {
	uint64_t clear_tid;
	uint32_t head, len; /* of a 32-bit program */
};

static int robust_list_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct robust_answer), datap);

	batch_ask(b, SYS_prctl, PR_GET_TID_ADDRESS, at);
	if (th->task->compat) /* the kernel keeps another list for 32-bit calls */
		batch_add(b, COMPAT_NR_GET_ROBUST_LIST, AGENT_OP_COMPAT,
		          (const uint64_t[6]) { 0, at + offsetof(struct robust_answer, head),
		                                at + offsetof(struct robust_answer, len) });
	return 0;
}

/* Of a 64-bit program. */
static int read_list(const struct thread *th, uint64_t *head, uint64_t *len)
{
	const struct thread_seen *seen = th->dump->seen;

	if (!seen || !(seen->shown & SHOWN_ROBUST))
		return syscall(SYS_get_robust_list, th->tid, head, len) ? -errno : 0;
	*head = seen->robust_list;
	*len = ARCH_ROBUST_HEAD_SIZE;
	return 0;
}

static int robust_list_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	const struct robust_answer *said = ans->data;
	const uint64_t clear_tid = said->clear_tid;
	ThreadCoreEntry *core = th->core->thread_core;
	uint64_t head = 0, len = 0;
	int err;

	if (answer_ret(ans, 0))
		return log_errno((int)answer_ret(ans, 0),
		                 "%s: prctl(PR_GET_TID_ADDRESS) (a kernel without CONFIG_CHECKPOINT_RESTORE?)",
		                 task_thread_name(th));
	if (th->task->compat && answer_ret(ans, 1))
		return log_errno((int)answer_ret(ans, 1), "%s: get_robust_list", task_thread_name(th));
	err = th->task->compat ? 0 : read_list(th, &head, &len);
	if (err)
		return log_errno(err, "%s: get_robust_list", task_thread_name(th));
	if (th->task->compat) {
		head = said->head;
		len = said->len;
	}
	core->futex_rla = head;
	core->futex_rla_len = (uint32_t)len;
	arch_core_set_clear_tid(d->arena, th->core, clear_tid);
	return 0;
}

static int robust_list_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	uint32_t size = th->task->compat ? ARCH_COMPAT_ROBUST_HEAD_SIZE : ARCH_ROBUST_HEAD_SIZE;

	if (core->futex_rla && core->futex_rla_len != size)
		return log_errno(-EINVAL, "%s: its image has a robust futex list of %u bytes", task_thread_name(th),
		                 core->futex_rla_len);
	return 0;
}

static int robust_list_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	raddr_t clear_tid = arch_core_clear_tid(th->core);

	if (core->futex_rla && th->task->compat)
		batch_add(b, COMPAT_NR_SET_ROBUST_LIST, AGENT_OP_STOP | AGENT_OP_COMPAT,
		          (const uint64_t[6]) { core->futex_rla, core->futex_rla_len });
	else if (core->futex_rla)
		batch_call(b, SYS_set_robust_list, core->futex_rla, core->futex_rla_len);
	if (clear_tid)
		batch_call(b, SYS_set_tid_address, clear_tid);
	return 0;
}

const struct task_part robust_list_part = {
	.name = "robust futex list and tid address",
	.per_thread = true,
	.ask = robust_list_ask,
	.dump = robust_list_dump,
	.check = robust_list_check,
	.restore = robust_list_restore,
};
