/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_start.h"
#include "lib/log.h"
#include "path/stand_in.h"

#define STACK 16384

/* ---- in the new process: nothing but system calls ---- */

static void sleep_forever(void *arg)
{
	sigset_t none;

	sigemptyset(&none);
	for (;;)
		syscall(SYS_ppoll, NULL, 0, NULL, &none, sizeof(uint64_t));
}

static int start_thread(pid_t tid, char *stack)
{
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
		.stack = (uintptr_t)stack,
		.stack_size = STACK,
		.set_tid = (uintptr_t)&tid,
		.set_tid_size = 1,
	};

	return arch_clone3(&args, sleep_forever, NULL) < 0;
}

static _Noreturn void live(const struct stand_in *s, pid_t parent, bool numbered, char *stacks)
{
	int failed = prctl(PR_SET_PDEATHSIG, SIGKILL) || syscall(SYS_getppid) != parent;

	for (size_t i = 0; numbered && !failed && i < s->n_tids; i++)
		failed = start_thread(s->tids[i], stacks + i * STACK);
	if (failed)
		_exit(1);
	syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
	for (;;)
		sleep_forever(NULL);
}

/* ---- in the tool ---- */

/* It gives its parent no signal when it ends, and waits for us even where SIGCHLD is ignored. */
static pid_t start(const struct stand_in *s, pid_t number, char *stacks)
{
	struct clone_args args = {
		.flags = CLONE_FILES,
		.set_tid = number > 0 ? (uintptr_t)&number : 0,
		.set_tid_size = number > 0,
	};
	pid_t parent = getpid(), pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));

	if (!pid)
		live(s, parent, number > 0, stacks);
	return pid < 0 ? -errno : pid;
}

int stand_in_start(struct stand_in *s)
{
	_cleanup_free_ char *stacks = malloc((s->n_tids + 1) * STACK);
	int status = 0;

	if (!stacks)
		return log_errno(-ENOMEM, "%zu stacks", s->n_tids);
	s->pid = start(s, s->want, stacks);
	if (s->pid == -EEXIST)
		s->pid = start(s, 0, stacks);
	if (s->pid < 0)
		return log_errno(s->pid, "making a process that stands for pid %d, which is gone", s->want);
	while (waitpid(s->pid, &status, WUNTRACED | __WALL) < 0)
		if (errno != EINTR)
			return log_errno(-errno, "waiting for pid %d to stop", s->pid);
	if (WIFSTOPPED(status))
		return 0;
	return log_errno(-EIO, "pid %d, which stands for one that is gone, could not make its threads", s->pid);
}

void stand_in_end(struct stand_in *s)
{
	int status;

	kill(s->pid, SIGKILL);
	while (waitpid(s->pid, &status, __WALL) < 0 && errno == EINTR)
		;
}
