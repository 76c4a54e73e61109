/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_start.h"
#include "helper/executor_parts.h"
#include "helper/helper.h"
#include "lib/own_pids.h"

#define TIDS_MAX 33 /* pid namespaces, one in the other */

struct birth {
	const struct helper_spec *spec;
	helper_fn fn;
	void *arg;
	pid_t parent;
	int *ret; /* where the result goes, in memory that both have; NULL: it is not wanted */
};

/*
 * In the new process. A parent that died before the first line has sent no signal, and another process is the parent
 * now. Nothing but _exit(2) follows fn: what is behind it on the stack may be the caller's.
 */
static void run_birth(void *arg)
{
	const struct birth *b = arg;
	int ret = -ECANCELED;

	if (b->spec->outlives || (!prctl(PR_SET_PDEATHSIG, SIGKILL) && syscall(SYS_getppid) == b->parent))
		ret = b->fn(b->arg);
	if (b->ret)
		*b->ret = ret;
	_exit(ret & 0xff);
}

static pid_t clone_with_any_pid(struct clone_args *args, struct birth *b)
{
	struct own_pid number = { 0 };
	pid_t pid;

	do {
		own_pids_set(&number, args);
		pid = (pid_t)arch_clone3(args, run_birth, b);
	} while (own_pids_again(&number, pid));
	return pid;
}

/* Without a stack of its own the child goes on at the caller's stack pointer, as with vfork(2). */
static pid_t give_birth(struct birth *b)
{
	const struct helper_spec *spec = b->spec;
	pid_t tids[TIDS_MAX];
	struct clone_args args = {
		.flags = spec->flags | (spec->flags & CLONE_VM ? CLONE_VFORK : 0) | (spec->pidfd ? CLONE_PIDFD : 0),
		.pidfd = (uintptr_t)spec->pidfd,
		.exit_signal = (uint64_t)spec->exit_signal,
		.set_tid = spec->pid > 0 ? (uintptr_t)tids : 0,
		.set_tid_size = spec->pid > 0 ? spec->n_inner + 1 : 0,
	};

	if (!spec->outlives && (spec->flags & (CLONE_PARENT | CLONE_NEWPID)))
		return -EINVAL;
	if (spec->n_inner >= TIDS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < spec->n_inner; i++)
		tids[i] = spec->inner[i];
	tids[spec->n_inner] = spec->pid;
	b->parent = spec->pid_ns ? 0 : getpid(); /* one outside of the namespace has no number in there */
	if (spec->pid > 0 || spec->pid_ns || spec->flags & CLONE_NEWPID)
		return (pid_t)arch_clone3(&args, run_birth, b);
	return clone_with_any_pid(&args, b);
}

static int run_to_end(struct birth *b)
{
	pid_t pid = give_birth(b);
	int status;

	if (pid < 0)
		return pid;
	status = helper_wait(pid);
	if (status < 0)
		return status;
	return WIFEXITED(status) ? *b->ret : -EFAULT;
}

/* setns(2) with a pid namespace changes where children are born: those of a helper in between. */
static int run_between(void *arg)
{
	struct birth *b = arg;
	uint64_t entered;

	return executor_enter(b->spec->pid_ns, 1, &entered) ?: run_to_end(b);
}

int helper_run(const struct helper_spec *spec, helper_fn fn, void *arg)
{
	const struct helper_spec between = { .flags = CLONE_VM | CLONE_FILES | CLONE_FS };
	int ret = -ECANCELED, *shared;
	struct birth b = { .spec = spec, .fn = fn, .arg = arg, .ret = &ret };

	if (spec->pid_ns)
		return spec->flags & CLONE_VM ? helper_run(&between, run_between, &b) : -EINVAL;
	if (spec->flags & CLONE_VM)
		return run_to_end(&b);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return -errno;
	*shared = -ECANCELED;
	b.ret = shared;
	ret = run_to_end(&b);
	munmap(shared, sizeof(*shared));
	return ret;
}

pid_t helper_start(const struct helper_spec *spec, helper_fn fn, void *arg)
{
	struct birth b = { .spec = spec, .fn = fn, .arg = arg };

	return give_birth(&b);
}

int helper_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return -errno;
	return status;
}

void helper_kill(pid_t pid)
{
	kill(pid, SIGKILL); /* no other process has this pid before the helper is waited for */
	helper_wait(pid);
}
