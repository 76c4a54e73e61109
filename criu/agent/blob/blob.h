/* SPDX-License-Identifier: GPL-2.0-only */
/* What the agent needs of its architecture (arch/<name>/agent_entry.S, agent_arch.h), and where criu finds it. */
#ifndef CRIU_AGENT_BLOB_BLOB_H
#define CRIU_AGENT_BLOB_BLOB_H

#include "agent_abi.h"
#include "agent_arch.h"

/* A system call; its result or a negative errno. */
long agent_syscall(long nr, long a, long b, long c, long d, long e, long f);

/* The same by the interface of 32-bit programs, for what the kernel does otherwise then. */
long agent_syscall_compat(long nr, long a, long b, long c, long d, long e, long f);

/* clone3(2): the child takes its slot's address from its stack and starts in agent_loop(); the parent gets the pid. */
long agent_clone(long nr, long args, long size);

/*
 * Sets the mask, loads all general registers and jumps: back to where the task was. A handler that runs in between, on
 * the agent's stack, finds its way back, also that of a 32-bit program, whose sigreturn(2) knows no registers from r8
 * on.
 */
void __attribute__((noreturn)) agent_resume(const uint64_t regs[AGENT_REGS], const uint64_t *mask);

/* For AGENT_OP_TOUCH; returns 0. */
long agent_touch(void);

void __attribute__((noreturn)) agent_loop(struct agent_slot *slot);

#define AGENT_SIG_SETMASK     2
#define AGENT_CLOCK_MONOTONIC 1
#define AGENT_ENOSYS          38

/* The flat binary, in criu (blob.S). Its entry is at its start: slot in the first argument register. */
extern const uint8_t agent_blob[], agent_blob_end[];

#endif
