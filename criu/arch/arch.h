/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an architecture implements: one folder below arch/ each, chosen by the Makefile (-Icriu/arch/<name> for its own
 * headers). Nothing else in criu knows registers.
 */
#ifndef CRIU_ARCH_ARCH_H
#define CRIU_ARCH_ARCH_H

#include "agent_abi.h"
#include "common.h"
#include "core.pb-c.h"
#include "lib/arena.h"

/* All registers of a stopped thread: general ones, and the extended state as PTRACE_GETREGSET gives it. */
struct thread_regs;

/* Reads them from a thread in a ptrace stop. From the arena; NULL with the error logged. */
struct thread_regs *arch_regs_get(struct arena *a, pid_t tid);

/* The same of a thread of which it is known that set_thread_area(2) has set nothing. */
struct thread_regs *arch_regs_get_plain(struct arena *a, pid_t tid);

/* Writes general registers only, or all, back. 0 or a negative errno. */
int arch_regs_set_general(pid_t tid, const struct thread_regs *regs);
int arch_regs_set(pid_t tid, const struct thread_regs *regs);

/* The instruction and stack pointer. */
raddr_t arch_regs_ip(const struct thread_regs *regs);
raddr_t arch_regs_sp(const struct thread_regs *regs);

/* A system call was interrupted and will be restarted: its number, else -1. */
long arch_regs_syscall(const struct thread_regs *regs);

/* The same, also of a call that returns EINTR instead of being restarted; *arg is its first argument. */
long arch_regs_interrupted(const struct thread_regs *regs, uint64_t *arg);

/*
 * Changes regs to what a restored thread must start with, before they go into an image: a pending restart is carried
 * out by hand, since the kernel will not do it for a task that was not in the call: instruction pointer back on the
 * call, number in its register; a call that only its restart block could continue returns -EINTR.
 */
void arch_regs_settle_restart(struct thread_regs *regs);

/*
 * A 32-bit program (arch_compat.h): whether these registers are those of one; and, for registers that were read while
 * the agent ran, that its next call has to be that of one.
 */
bool arch_regs_is_compat(const struct thread_regs *regs);
void arch_regs_set_compat(struct thread_regs *regs, bool compat);

/* Registers with which a thread makes one system call at `ip` (a syscall instruction), with stack pointer `sp`. */
void arch_regs_syscall_at(struct thread_regs *regs, raddr_t ip, raddr_t sp, long nr, const uint64_t arg[6]);

/* Registers that enter the agent at its entry with a slot and the top of its stack. */
void arch_regs_enter_agent(struct thread_regs *regs, raddr_t entry, raddr_t slot, raddr_t stack_top);

/* The result register after a call: in regs, and of a thread in a ptrace stop. */
int64_t arch_regs_result(const struct thread_regs *regs);
int arch_peek_result(pid_t tid, int64_t *ret);

/* The general registers of src into dst; the rest of dst stays. */
void arch_regs_copy_general(struct thread_regs *dst, const struct thread_regs *src);

/* A copy from the arena. */
struct thread_regs *arch_regs_dup(struct arena *a, const struct thread_regs *regs);

/* slot->regs for AGENT_DIE_RESUME. A pending restart is carried out by the task, which still has its restart block. */
void arch_regs_to_resume(const struct thread_regs *regs, uint64_t out[AGENT_REGS]);

/* Sets the instruction pointer (to an rseq abort handler). */
void arch_regs_set_ip(struct thread_regs *regs, raddr_t ip);

/*
 * A signal frame, in a buffer of *size bytes, from which rt_sigreturn brings exactly these registers and this mask
 * back; it will lie at address `at` in the task (64-byte aligned), `restorer` is the address of code that calls
 * rt_sigreturn. The stack pointer with which a `ret` starts it is `at`. arch_sigframe_size: bytes needed for these
 * registers. arch_sigframe_taken: how far above `at` the stack pointer is when rt_sigreturn is called.
 */
size_t arch_sigframe_size(const struct thread_regs *regs);
size_t arch_sigframe_taken(const struct thread_regs *regs);
void arch_sigframe_make(const struct thread_regs *regs, uint64_t mask, raddr_t at, raddr_t restorer, void *buf);

/* The bytes of an instruction sequence that calls rt_sigreturn, as C libraries have it; their length. */
const uint8_t *arch_sigreturn_code(bool compat, size_t *len);

/* The bytes of a syscall instruction; their length. */
const uint8_t *arch_syscall_code(size_t *len);

/* Registers -> core->thread_info (and mtype); back. State in an image that this processor lacks is refused by name. */
int arch_regs_to_core(struct arena *a, const struct thread_regs *regs, CoreEntry *core);
int arch_regs_check_core(const CoreEntry *core, const char *who);
struct thread_regs *arch_regs_from_core(struct arena *a, const CoreEntry *core);
bool arch_core_is_compat(const CoreEntry *core);

/* clear_child_tid, which the format keeps beside the registers; before or after arch_regs_to_core(). 0: none. */
void arch_core_set_clear_tid(struct arena *a, CoreEntry *core, raddr_t addr);
raddr_t arch_core_clear_tid(const CoreEntry *core);

/*
 * Register state that a task may use only after it has asked the kernel (AMX). Both functions give a call that the task
 * is to make.
 * arch_perm_ask: a call that writes 8 bytes at out, for arch_perm_to_core(); false: there is no such state here.
 * arch_perm_request: a call that gets the permission that the image's task had; false: it had none.
 * arch_state_is_large: ptrace can set the thread's registers only after the thread has used them (AGENT_OP_TOUCH).
 */
struct arch_call {
	long nr;
	uint64_t arg[6];
};
bool arch_perm_ask(raddr_t out, struct arch_call *call);
void arch_perm_to_core(struct arena *a, CoreEntry *core, uint64_t answer);
bool arch_perm_request(const CoreEntry *core, struct arch_call *call);
bool arch_state_is_large(const CoreEntry *core);

#endif
