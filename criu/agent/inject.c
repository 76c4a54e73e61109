/* SPDX-License-Identifier: GPL-2.0-only */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "agent/inject.h"
#include "freeze/ptrace.h"
#include "lib/log.h"

#define INJECT_TIMEOUT_MS 10000

enum wanted { SYSCALL_STOP, EVENT_STOP };

/*
 * All signals but SIGKILL and SIGSTOP are blocked here. A SIGSTOP is taken out and noted; a group stop that another
 * thread entered is passed over.
 */
static int wait_for_stop(pid_t tid, const char *who, enum wanted wanted, bool *stop_came)
{
	for (;;) {
		int status, sig, err = ptrace_wait(tid, INJECT_TIMEOUT_MS, &status);

		if (err)
			return log_errno(err, "%s: waiting for it to stop", who);
		sig = WSTOPSIG(status);
		if (stop_event(status) == PTRACE_EVENT_STOP) {
			if (wanted == EVENT_STOP)
				return 0;
		} else if (sig == (SIGTRAP | 0x80)) {
			if (wanted == SYSCALL_STOP)
				return 0;
		} else if (sig == SIGSTOP) {
			*stop_came = true;
		} else {
			return log_errno(-EFAULT, "%s: stopped with signal %d in a system call of ours", who, sig);
		}
		err = wanted == SYSCALL_STOP ? ptrace_to_syscall(tid) : ptrace_cont(tid, 0);
		if (err)
			return log_errno(err, "%s: letting it go on", who);
	}
}

int inject_stop_thread(pid_t tid, const char *who, bool *stop_came)
{
	int err = ptrace_interrupt(tid);

	if (err)
		return log_errno(err, "%s: interrupting it", who);
	return wait_for_stop(tid, who, EVENT_STOP, stop_came);
}

static int step_to_syscall(struct inject *in)
{
	int err = ptrace_to_syscall(in->tid);

	if (err)
		return log_errno(err, "%s: letting it make a system call", in->who);
	return wait_for_stop(in->tid, in->who, SYSCALL_STOP, &in->stop_came);
}

int inject_syscall(struct inject *in, struct thread_regs *scratch, long nr, const uint64_t arg[6], int64_t *ret)
{
	int err;

	arch_regs_syscall_at(scratch, in->syscall_ip, in->stack, nr, arg);
	err = arch_regs_set_general(in->tid, scratch);
	if (err)
		return log_errno(err, "%s: setting its registers", in->who);
	err = step_to_syscall(in); /* the entry */
	if (!err)
		err = step_to_syscall(in); /* the exit */
	if (!err)
		err = arch_peek_result(in->tid, ret);
	if (err)
		return err;
	/* Back into the stop in which the kernel looks after restarts of the task's own call when it is let go. */
	err = ptrace_interrupt(in->tid);
	if (!err)
		err = ptrace_cont(in->tid, 0);
	if (err)
		return log_errno(err, "%s: stopping it again", in->who);
	return wait_for_stop(in->tid, in->who, EVENT_STOP, &in->stop_came);
}
