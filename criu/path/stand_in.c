/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_start.h"
#include "helper/helper.h"
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

struct life {
	const struct stand_in *s;
	char *stacks; /* of threads; NULL: it is to have none */
};

static int live_stopped(void *arg)
{
	const struct life *l = arg;

	for (size_t i = 0; l->stacks && i < l->s->n_tids; i++)
		if (start_thread(l->s->tids[i], l->stacks + i * STACK))
			return 1;
	syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
	for (;;)
		sleep_forever(NULL);
}

/* ---- in criu ---- */

int stand_in_start(struct stand_in *s)
{
	_cleanup_free_ char *stacks = malloc((s->n_tids + 1) * STACK);
	struct life life = { .s = s, .stacks = s->want > 0 ? stacks : NULL };
	struct helper_spec spec = { .flags = CLONE_FILES, .pid = s->want };
	int status = 0;

	if (!stacks)
		return log_errno(-ENOMEM, "%zu stacks", s->n_tids);
	s->pid = helper_start(&spec, live_stopped, &life);
	if (s->pid == -EEXIST) {
		spec.pid = 0;
		life.stacks = NULL;
		s->pid = helper_start(&spec, live_stopped, &life);
	}
	if (s->pid < 0)
		return log_errno(s->pid, "making a process that stands for pid %d, which is gone: clone3", s->want);
	while (waitpid(s->pid, &status, WUNTRACED | __WALL) < 0)
		if (errno != EINTR)
			return log_errno(-errno, "waitpid for pid %d to stop", s->pid);
	if (WIFSTOPPED(status))
		return 0;
	return log_errno(-EIO, "pid %d, which stands for one that is gone, could not make its threads", s->pid);
}

void stand_in_end(struct stand_in *s)
{
	helper_kill(s->pid);
}
