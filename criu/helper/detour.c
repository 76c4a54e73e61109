/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/detour.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "helper/executor_parts.h"
#include "helper/helper.h"
#include "lib/log.h"
#include "undo/guardian.h"

/* Where criu's thread sleeps, and where the helper begins. */
#define ASIDE_SIZE (64 << 10)

static struct {
	ucontext_t work;   /* what called us: goes on in the one process or the other */
	ucontext_t helper; /* what ends the helper */
	bool away, entered, done;
	int fd, err, dumpable;
	pid_t home;
	uid_t uid;
	gid_t gid;
	_Alignas(64) char aside[ASIDE_SIZE];
} detour; /* lint: global: of the process, as its namespaces are; a thread that sleeps has no stack for it */

/* On a detour the kernel shows other ids. */
bool detour_is_ordinary(void)
{
	return detour.away || geteuid();
}

uid_t detour_uid(void)
{
	return detour.away ? detour.uid : geteuid();
}

gid_t detour_gid(void)
{
	return detour.away ? detour.gid : getegid();
}

bool detour_may_help(int err)
{
	return err == -EPERM && detour_is_ordinary() && syscall(SYS_gettid) == syscall(SYS_getpid);
}

int detour_at(void)
{
	return detour.away ? detour.fd : -1;
}

/* ---- there and back ---- */

/* The change of credentials takes the death signal away for a moment. */
static int run_work(void *arg)
{
	prctl(PR_SET_NAME, GUARDIAN_DETOUR);
	detour.err = executor_enter_as_we_are(detour.fd);
	if (detour.err)
		return 0;
	if (syscall(SYS_getppid) != detour.home)
		_exit(1);
	detour.entered = true;
	return swapcontext(&detour.helper, &detour.work);
}

/* What the helper had in its hands is lost with it, whatever killed it: criu ends, and its guardian takes all back. */
static void sleep_aside(void)
{
	const struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES };
	int ret = helper_run(&spec, run_work, NULL);

	if (detour.entered && !detour.done)
		kill(getpid(), SIGKILL);
	detour.err = detour.err ?: ret;
	setcontext(&detour.work);
	abort();
}

/* Memory that a process in a user namespace has too is not dumpable, so that nobody in there can trace that one. */
static void forget(void)
{
	detour.away = false;
	if (detour.dumpable == 1)
		prctl(PR_SET_DUMPABLE, 1);
}

/* Returns in the helper, or, with an error, at home. */
static int leave_home(int fd)
{
	ucontext_t aside;

	getcontext(&aside);
	aside.uc_stack.ss_sp = detour.aside;
	aside.uc_stack.ss_size = sizeof(detour.aside);
	aside.uc_link = NULL;
	makecontext(&aside, sleep_aside, 0);
	detour.uid = geteuid();
	detour.gid = getegid();
	detour.home = getpid();
	detour.away = true;
	detour.fd = fd;
	detour.err = 0;
	detour.entered = detour.done = false;
	detour.dumpable = prctl(PR_GET_DUMPABLE);
	swapcontext(&detour.work, &aside);
	if (detour.err)
		forget();
	return detour.err;
}

static void come_home(void)
{
	detour.done = true;
	swapcontext(&detour.work, &detour.helper);
	forget();
}

int detour_go(int fd)
{
	if (detour.away)
		come_home();
	return fd < 0 || executor_is_in(fd) ? 0 : leave_home(fd);
}
