/* SPDX-License-Identifier: GPL-2.0-only */
/* System calls made by a stopped thread at a syscall instruction of its own, one at a time: the way in and out. */
#ifndef CRIU_AGENT_INJECT_H
#define CRIU_AGENT_INJECT_H

#include "arch/arch.h"
#include "common.h"

struct unfreezer;

struct inject {
	const char *who; /* for messages */
	pid_t tid;

	raddr_t syscall_ip; /* a syscall instruction, see arch_find_syscall() */
	raddr_t stack;      /* where a `ret` leads back to the task's own registers if criu is gone; 0: nowhere */
	bool stop_came;     /* a SIGSTOP arrived during the call and has to be sent again */
	bool runs;          /* set by the caller: signals are not blocked, those that come are delivered */
	bool more;          /* set by the caller: another call follows, so the thread stays where this one ends */
	bool under_way; /* the stop behind a call was not awaited (more), or a call failed before the stop behind it was
	                   seen: inject_settle() */
	const struct unfreezer *unfreezer; /* thaws the task's cgroup if that is frozen meanwhile; may be NULL */
};

/*
 * Makes one call; *ret is what the kernel returned. The thread is in PTRACE_EVENT_STOP before and after (or behind
 * a call, with in->more), with all signals blocked and PTRACE_O_TRACESYSGOOD on; its registers are whatever they are.
 * No single step and no breakpoint: a tracer that dies here leaves a task that returns through in->stack. Negative
 * errno when the thread could not be driven (logged).
 */
int inject_syscall(struct inject *in, struct thread_regs *scratch, long nr, const uint64_t arg[6], int64_t *ret);

/*
 * After a failed call, which may be under way still: interrupts the thread and waits until it is in PTRACE_EVENT_STOP,
 * so that its registers can be set. Until that has come, the registers and the stack are the call's. Logs.
 */
int inject_settle(struct inject *in);

/*
 * Interrupts a running thread, and waits for its PTRACE_EVENT_STOP; other stops on the way are continued. Of many
 * threads, all are interrupted before the first is waited for. Both log.
 */
int inject_interrupt(pid_t tid, const char *who);
int inject_await_stop(pid_t tid, const char *who, bool *stop_came, const struct unfreezer *unfreezer);

/* Both. */
int inject_stop_thread(pid_t tid, const char *who, bool *stop_came, const struct unfreezer *unfreezer);

/* The same of a thread that may be about its own business: it gets the signals, SIGSTOP too, that come before. */
int inject_stop_running(pid_t tid, const char *who);

#endif
