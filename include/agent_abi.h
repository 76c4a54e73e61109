/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol between criu and the agent, the freestanding loop that runs inside a task. The agent is told system
 * calls and nothing else; this header is all that both sides know. See agent/batch.h for criu's side.
 */
#ifndef CRIU_AGENT_ABI_H
#define CRIU_AGENT_ABI_H

#include <stdint.h>

enum {
	AGENT_OP_STOP = 1 << 0,   /* a failure ends the batch here */
	AGENT_OP_FORK = 1 << 1,   /* clone3 with a stack of its own, on which the child finds the address of its slot */
	AGENT_OP_DONE = 1 << 2,   /* set by the agent: the call was made, ret is valid */
	AGENT_OP_TOUCH = 1 << 3,  /* no call: the thread uses its large registers once, so that they get room */
	AGENT_OP_COMPAT = 1 << 4, /* as a 32-bit program makes the call, with its number: see arch/arch_compat.h */
	AGENT_OP_ALWAYS = 1 << 5, /* made even if criu has died since the batch began: takes back what that made */
};

struct agent_op {
	uint32_t nr;    /* system call number */
	uint32_t flags; /* AGENT_OP_* */
	uint64_t arg[6];
	uint16_t ref[6]; /* 0, or 1 + the index of an earlier operation whose result replaces this argument */
	uint32_t unused;
	int64_t ret; /* what the kernel returned: a negative errno on failure */
};

/* agent_slot.cmd */
enum { AGENT_IDLE = 0, AGENT_RUN = 1 };

/* agent_slot.on_death: what an agent does when criu is gone. */
enum { AGENT_DIE_EXIT = 0, AGENT_DIE_RESUME = 1 };

#define AGENT_REGS 20

/*
 * One agent's place in the area. `cmd` is the futex on which the agent waits and `done` the one on which criu
 * waits. Everything in here may be overwritten by a hostile task; criu keeps its own copy of what it relies on.
 */
struct agent_slot {
	uint32_t cmd;  /* AGENT_*; set by criu, back to IDLE by the agent */
	uint32_t done; /* 1 when the agent stands in its loop and the last batch has ended */
	uint32_t n_ops;
	uint32_t on_death; /* AGENT_DIE_* */
	uint64_t ops;      /* address of the first agent_op, in the task */
	uint64_t death;    /* address of the futex word in which the kernel sets FUTEX_OWNER_DIED when criu dies */
	uint64_t sigmask;  /* for AGENT_DIE_RESUME */
	uint64_t regs[AGENT_REGS]; /* for AGENT_DIE_RESUME, in the order in which agent_entry.S loads them */
};

#endif
