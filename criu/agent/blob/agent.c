/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The agent: runs inside a task, without libc, and makes the system calls that it is told. It knows nothing else. Built
 * freestanding and without FPU registers, so that the task's are untouched while it runs.
 */
#include <linux/futex.h>
#include <stddef.h>
#include <stdint.h>

#include "agent_abi.h"
#include "agent/blob/blob.h"
#include "arch/arch_abi.h"
#include "uapi/futex_waitv.h"

static uint32_t load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static uint32_t *death_word(const struct agent_slot *slot)
{
	return (uint32_t *)slot->death;
}

static int tool_died(const struct agent_slot *slot)
{
	return load(death_word(slot)) & FUTEX_OWNER_DIED;
}

/* The kernel wakes one waiter of a robust futex; the one that wakes passes it on to the agents of the other tasks. */
static void __attribute__((noreturn)) die(struct agent_slot *slot)
{
	agent_syscall(AGENT_NR_FUTEX, (long)death_word(slot), FUTEX_WAKE, 0x7fffffff, 0, 0, 0);
	if (slot->on_death == AGENT_DIE_RESUME)
		agent_resume(slot->regs, &slot->sigmask);
	for (;;)
		agent_syscall(AGENT_NR_EXIT_GROUP, 1, 0, 0, 0, 0, 0);
}

/* Before futex_waitv(2) (Linux 5.16) there is no waiting for two words: look at the other one now and then. */
static void wait_one(struct agent_slot *slot)
{
	static const long tick[2] = { 0, 50 * 1000 * 1000 };

	agent_syscall(AGENT_NR_FUTEX, (long)&slot->cmd, FUTEX_WAIT, AGENT_IDLE, (long)tick, 0, 0);
}

static void wait_for_work(struct agent_slot *slot)
{
	while (load(&slot->cmd) == AGENT_IDLE) {
		uint32_t death = load(death_word(slot));
		struct futex_waitv waiters[2] = {
			{ .val = AGENT_IDLE, .uaddr = (uint64_t)&slot->cmd, .flags = FUTEX_32 },
			{ .val = death, .uaddr = slot->death, .flags = FUTEX_32 },
		};
		long until[2];

		if (death & FUTEX_OWNER_DIED)
			die(slot);
		/* The one that the kernel woke may be killed before it has passed it on: look again by oneself. */
		agent_syscall(AGENT_NR_CLOCK_GETTIME, AGENT_CLOCK_MONOTONIC, (long)until, 0, 0, 0, 0);
		until[0]++;
		if (agent_syscall(AGENT_NR_FUTEX_WAITV, (long)waiters, 2, 0, (long)until, AGENT_CLOCK_MONOTONIC, 0) ==
		    -AGENT_ENOSYS)
			wait_one(slot);
	}
}

/* Not zero: the batch ends here. */
static int run_one(struct agent_op *ops, uint32_t i)
{
	struct agent_op *op = &ops[i];
	uint64_t arg[6];

	for (int n = 0; n < 6; n++) {
		arg[n] = op->arg[n];
		if (op->ref[n] && op->ref[n] <= i)
			arg[n] = (uint64_t)ops[op->ref[n] - 1].ret;
	}
	if (op->flags & AGENT_OP_TOUCH)
		op->ret = agent_touch();
	else if (op->flags & AGENT_OP_FORK)
		op->ret = agent_clone(op->nr, arg[0], arg[1]);
	else if (op->flags & AGENT_OP_COMPAT)
		op->ret = agent_syscall_compat(op->nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	else
		op->ret = agent_syscall(op->nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	op->flags |= AGENT_OP_DONE;
	return (op->flags & AGENT_OP_STOP) && (uint64_t)op->ret > (uint64_t)-4096;
}

/*
 * No signal takes an agent away from its work. A new task comes here with the mask of criu, whose libc does not block
 * the two signals that the libc itself uses (32 and 33); timers of the task may send them.
 */
void __attribute__((noreturn)) agent_loop(struct agent_slot *slot)
{
	static const uint64_t all = ~0ULL;

	agent_syscall(AGENT_NR_SIGPROCMASK, AGENT_SIG_SETMASK, (long)&all, 0, ARCH_SIGSET_SIZE, 0, 0);
	for (;;) {
		__atomic_store_n(&slot->done, 1, __ATOMIC_RELEASE);
		agent_syscall(AGENT_NR_FUTEX, (long)&slot->done, FUTEX_WAKE, 1, 0, 0, 0);
		wait_for_work(slot);
		__atomic_store_n(&slot->cmd, AGENT_IDLE, __ATOMIC_RELEASE);
		for (uint32_t i = 0; i < slot->n_ops; i++) {
			struct agent_op *ops = (struct agent_op *)slot->ops;

			if (tool_died(slot) && !(ops[i].flags & AGENT_OP_ALWAYS))
				die(slot);
			if (run_one(ops, i))
				break;
		}
	}
}
