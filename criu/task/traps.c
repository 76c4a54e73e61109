/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What becomes of a thread that reads the time stamp counter (PR_SET_TSC), asks what the processor can do
 * (ARCH_SET_CPUID of arch_prctl(2)) or touches memory that has failed (PR_MCE_KILL). A new thread has its creator's, so
 * criu's own count at restore.
 */
#include <string.h>
#include <sys/syscall.h>

#include "arch/arch.h"
#include "arch/arch_cpu.h"
#include "lib/log.h"
#include "task/answer.h"
#include "tree/inventory.h"
#include "uapi/prctl_new.h"

extern const struct task_part traps_part;

/* criu's own. */
struct own_traps {
	bool asked;
	int tsc; /* 0: not known */
	int mce; /* negative: not known */
};

enum { ASK_TSC, ASK_MCE, ASK_CPUID };

static int traps_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	struct arch_call call;

	batch_ask(b, SYS_prctl, PR_GET_TSC, batch_space(b, sizeof(int32_t), datap));
	batch_ask(b, SYS_prctl, PR_MCE_KILL_GET);
	if (arch_cpuid_ask(&call))
		batch_add(b, (unsigned)call.nr, 0, call.arg);
	else
		batch_ask(b, SYS_prctl, (uint64_t)-1);
	return 0;
}

/* The default of each is not written. */
static int traps_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int32_t tsc = *(const int32_t *)ans->data;

	core->has_tsc_mode = !answer_ret(ans, ASK_TSC) && tsc == PR_TSC_SIGSEGV;
	core->tsc_mode = core->has_tsc_mode ? (uint32_t)tsc : 0;
	core->has_mce_kill = answer_ret(ans, ASK_MCE) >= 0 && answer_ret(ans, ASK_MCE) != PR_MCE_KILL_DEFAULT;
	core->mce_kill = core->has_mce_kill ? (uint32_t)answer_ret(ans, ASK_MCE) : 0;
	core->has_cpuid_faults = core->cpuid_faults = answer_ret(ans, ASK_CPUID) == 0;
	if (core->has_tsc_mode || core->cpuid_faults)
		inventory_only_ours(d);
	return 0;
}

static int traps_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct arch_call call;

	if ((core->has_tsc_mode && core->tsc_mode != PR_TSC_SIGSEGV && core->tsc_mode != PR_TSC_ENABLE) ||
	    (core->has_mce_kill && core->mce_kill > PR_MCE_KILL_DEFAULT))
		return log_errno(-EINVAL, "%s: its image has TSC mode %u, machine check policy %u",
		                 task_thread_name(th), core->tsc_mode, core->mce_kill);
	if (core->cpuid_faults && !arch_cpuid_set(false, &call))
		return log_refusal(-ENODEV,
		                   "%s: CPUID gives it a SIGSEGV (ARCH_SET_CPUID), which this processor cannot do: "
		                   "restore on one that has the flag cpuid_fault",
		                   task_thread_name(th));
	return 0;
}

static const struct own_traps *traps_of_criu(struct restore *r)
{
	struct own_traps *own = restore_state(r, &traps_part);

	if (own->asked)
		return own;
	own->asked = true;
	own->mce = prctl(PR_MCE_KILL_GET, 0, 0, 0, 0);
	if (prctl(PR_GET_TSC, &own->tsc))
		own->tsc = 0;
	return own;
}

static int traps_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	const struct own_traps *own = traps_of_criu(r);
	uint32_t wanted = core->has_mce_kill ? core->mce_kill : PR_MCE_KILL_DEFAULT;
	struct arch_call call;

	if (own->tsc && (core->has_tsc_mode || own->tsc != PR_TSC_ENABLE))
		batch_call(b, SYS_prctl, PR_SET_TSC, core->has_tsc_mode ? core->tsc_mode : PR_TSC_ENABLE);
	if (own->mce >= 0 && (uint32_t)own->mce != wanted)
		batch_call(b, SYS_prctl, PR_MCE_KILL,
		           wanted == PR_MCE_KILL_DEFAULT ? PR_MCE_KILL_CLEAR : PR_MCE_KILL_SET,
		           wanted == PR_MCE_KILL_DEFAULT ? 0 : wanted);
	if (core->cpuid_faults && arch_cpuid_set(false, &call))
		batch_add(b, (unsigned)call.nr, AGENT_OP_STOP, call.arg);
	return 0;
}

const struct task_part traps_part = {
	.name = "instructions that trap",
	.state = { .restore = sizeof(struct own_traps) },
	.per_thread = true,
	.ask = traps_ask,
	.dump = traps_dump,
	.check = traps_check,
	.restore = traps_restore,
};
