/* SPDX-License-Identifier: GPL-2.0-only */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "agent/inject.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "proc/proc.h"

#define INJECT_TIMEOUT_MS 10000

/* A stop that takes longer makes criu look whether the thread's cgroup was frozen in the middle. */
#define FREEZER_LOOK_MS   100

enum wanted { SYSCALL_STOP, EVENT_STOP };

/* What other tasks have to be waited for is done meanwhile (lib/fiber.h). */
static int wait_a_while(pid_t tid, int *status)
{
	unsigned looks = 0;
	int err;

	do
		err = ptrace_wait(tid, 0, status);
	while (err == -ETIMEDOUT && fiber_yield(&looks));
	return err == -ETIMEDOUT ? ptrace_wait(tid, FREEZER_LOOK_MS, status) : err;
}

/* -ETIMEDOUT: no stop in all the time. Other errors are logged, or ptrace_wait()'s. */
static int wait_any_stop(pid_t tid, const struct unfreezer *unfreezer, int *status)
{
	for (int waited = 0; waited < INJECT_TIMEOUT_MS; waited += FREEZER_LOOK_MS) {
		int err = wait_a_while(tid, status);

		if (err != -ETIMEDOUT)
			return err;
		if (proc_is_exiting(tid))
			return -ESRCH;
		err = unfreezer ? freeze_thaw_cgroups(unfreezer, tid, tid, NULL) : 0;
		if (err < 0)
			return err;
	}
	return -ETIMEDOUT;
}

/*
 * All signals but SIGKILL and SIGSTOP are blocked here, unless in->runs. A SIGSTOP is taken out and noted; a group stop
 * that another thread entered is passed over.
 */
static int wait_for_stop(struct inject *in, enum wanted wanted)
{
	for (;;) {
		int status, sig, pass = 0, err = wait_any_stop(in->tid, in->unfreezer, &status);

		if (err)
			return log_errno(err, "%s: waitpid for its stop", in->who);
		sig = WSTOPSIG(status);
		if (stop_event(status) == PTRACE_EVENT_STOP) {
			if (wanted == EVENT_STOP)
				return 0;
		} else if (sig == (SIGTRAP | 0x80)) {
			if (wanted == SYSCALL_STOP)
				return 0;
		} else if (in->runs && !stop_event(status)) {
			pass = sig; /* it was about to be delivered when the thread was seized */
		} else if (sig == SIGSTOP) {
			in->stop_came = true;
		} else {
			return log_errno(-EFAULT, "%s: stopped with signal %d in a system call of ours", in->who, sig);
		}
		err = wanted == SYSCALL_STOP ? ptrace_to_syscall(in->tid) : ptrace_cont(in->tid, pass);
		if (err)
			return log_errno(err, "%s: letting it go on", in->who);
	}
}

int inject_interrupt(pid_t tid, const char *who)
{
	int err = ptrace_interrupt(tid);

	return err ? log_errno(err, "%s: ptrace(PTRACE_INTERRUPT)", who) : 0;
}

int inject_await_stop(pid_t tid, const char *who, bool *stop_came, const struct unfreezer *unfreezer)
{
	struct inject in = { .who = who, .tid = tid, .unfreezer = unfreezer };
	int err = wait_for_stop(&in, EVENT_STOP);

	*stop_came |= in.stop_came;
	return err;
}

int inject_stop_thread(pid_t tid, const char *who, bool *stop_came, const struct unfreezer *unfreezer)
{
	return inject_interrupt(tid, who) ?: inject_await_stop(tid, who, stop_came, unfreezer);
}

int inject_stop_running(pid_t tid, const char *who)
{
	struct inject in = { .who = who, .tid = tid, .runs = true };

	return inject_interrupt(tid, who) ?: wait_for_stop(&in, EVENT_STOP);
}

/* A stop before or behind the call, or for a signal: the interrupt, asked for first, comes before anything else of the
 * task's. */
int inject_settle(struct inject *in)
{
	int err;

	if (!in->under_way)
		return 0;
	err = ptrace_interrupt(in->tid);
	if (!err && ptrace_is_stopped(in->tid))
		err = ptrace_cont(in->tid, 0);
	if (err)
		return log_errno(err, "%s: interrupting a call of ours", in->who);
	err = wait_for_stop(in, EVENT_STOP);
	in->under_way = err != 0;
	return err;
}

static int step_to_syscall(struct inject *in)
{
	int err = ptrace_to_syscall(in->tid);

	if (err)
		return log_errno(err, "%s: ptrace(PTRACE_SYSCALL)", in->who);
	return wait_for_stop(in, SYSCALL_STOP);
}

int inject_syscall(struct inject *in, struct thread_regs *scratch, long nr, const uint64_t arg[6], int64_t *ret)
{
	int err;

	arch_regs_syscall_at(scratch, in->syscall_ip, in->stack, nr, arg);
	err = arch_regs_set_general(in->tid, scratch);
	if (err)
		return log_errno(err, "%s: setting its registers", in->who);
	in->under_way = true;
	err = step_to_syscall(in); /* the entry */
	if (!err)
		err = step_to_syscall(in); /* the exit */
	if (!err)
		err = arch_peek_result(in->tid, ret);
	if (err || in->more)
		return err;
	/* Back into the stop in which the kernel looks after restarts of the task's own call when it is let go. */
	err = ptrace_interrupt(in->tid);
	if (!err)
		err = ptrace_cont(in->tid, 0);
	if (err)
		return log_errno(err, "%s: stopping it again", in->who);
	err = wait_for_stop(in, EVENT_STOP);
	in->under_way = err != 0;
	return err;
}
