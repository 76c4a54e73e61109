/* SPDX-License-Identifier: GPL-2.0-only */
/* Probes that need a task of their own: ptrace, clone3, and what a task does to itself. */
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "arch/arch_vdso.h"
#include "arch_core.h"
#include "arch_page.h"
#include "helper/helper.h"
#include "probe/probe_fns.h"
#include "proc/own_rights.h"
#include "proc/proc.h"
#include "uapi/probe_bits.h"

static const struct helper_spec plain_fork;

/* ---- ptrace: of a child that sleeps ---- */

static int in_stop(pid_t pid, int (*fn)(pid_t pid))
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) || ptrace(PTRACE_INTERRUPT, pid, 0, 0))
		return -errno;
	if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		return -ESRCH;
	if (status >> 16 != PTRACE_EVENT_STOP)
		return -EOPNOTSUPP;
	return fn(pid);
}

static int sleep_until_killed(void *unused)
{
	for (;;)
		pause();
	return 0;
}

static int with_stopped(int (*fn)(pid_t pid))
{
	/* As tasks are, and criu is not whose file has capabilities. */
	int dumpable = prctl(PR_GET_DUMPABLE), err;
	pid_t pid;

	prctl(PR_SET_DUMPABLE, 1);
	pid = helper_start(&plain_fork, sleep_until_killed, NULL);
	if (dumpable != 1)
		prctl(PR_SET_DUMPABLE, 0);
	if (pid < 0)
		return pid;
	err = in_stop(pid, fn);
	helper_kill(pid);
	return err;
}

static int syscall_info_request(long what, pid_t pid, unsigned long addr, void *data)
{
	return ptrace((enum __ptrace_request)what, pid, addr, data) < 0 ? -errno : 0;
}

static int try_nothing(pid_t pid)
{
	return 0;
}

int probe_ptrace_seize(void)
{
	return with_stopped(try_nothing);
}

static int try_peeksiginfo(pid_t pid)
{
	struct __ptrace_peeksiginfo_args args = { .nr = 1, .flags = PTRACE_PEEKSIGINFO_SHARED };
	siginfo_t info;

	return ptrace(PTRACE_PEEKSIGINFO, pid, &args, &info) < 0 ? -errno : 0;
}

int probe_ptrace_peeksiginfo(void)
{
	return with_stopped(try_peeksiginfo);
}

static int try_suspend(pid_t pid)
{
	return syscall_info_request(PTRACE_SETOPTIONS, pid, 0, (void *)PROBE_PTRACE_O_SUSPEND_SECCOMP);
}

int probe_seccomp_suspend(void)
{
	return with_stopped(try_suspend);
}

/* EINVAL: there is no filter to be shown, but it would be. */
static int try_filters(pid_t pid)
{
	int err = syscall_info_request(PROBE_PTRACE_SECCOMP_GET_FILTER, pid, 0, NULL);

	return err == -EINVAL || err == -ENOENT ? 0 : err;
}

int probe_seccomp_filters(void)
{
	return with_stopped(try_filters);
}

static int try_rseq(pid_t pid)
{
	char conf[64];

	return syscall_info_request(PROBE_PTRACE_GET_RSEQ_CONF, pid, 24, conf);
}

int probe_rseq_conf(void)
{
	return with_stopped(try_rseq);
}

/* ---- creating ---- */

static int end_at_once(void *unused)
{
	return 0;
}

/* The pid of a child that is gone is free, for a moment at least. */
int probe_clone3_set_tid(void)
{
	struct helper_spec again = { .pid = helper_start(&plain_fork, end_at_once, NULL) };
	pid_t pid;

	if (again.pid < 0)
		return again.pid;
	helper_wait(again.pid);
	pid = helper_start(&again, end_at_once, NULL);
	if (pid < 0)
		return pid == -EEXIST ? 0 : pid;
	helper_wait(pid);
	return pid == again.pid ? 0 : -EOPNOTSUPP;
}

/* ---- what a task does to itself ---- */

/* exe_fd: an executable to be shown, for which the kernel asks more. */
static int set_map(uint32_t exe_fd)
{
	struct prctl_mm_map map = { .exe_fd = exe_fd };
	struct proc_stat st;
	int err = proc_stat_of(getpid(), &st);

	if (err)
		return err;
	map.start_code = st.start_code;
	map.end_code = st.end_code;
	map.start_data = st.start_data;
	map.end_data = st.end_data;
	map.start_brk = st.start_brk;
	map.brk = (uintptr_t)sbrk(0);
	map.start_stack = st.start_stack;
	map.arg_start = st.arg_start;
	map.arg_end = st.arg_end;
	map.env_start = st.env_start;
	map.env_end = st.env_end;
	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) ? -errno : 0;
}

static int set_own_map(void *unused)
{
	return set_map((uint32_t)-1);
}

/*
 * What a restored process has after its execve(), it asks the kernel to show another executable with. EBUSY: it may,
 * when nothing of its own is mapped any more.
 */
static int act_as_restored(void *unused)
{
	_cleanup_close_ int exe = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct own_rights own;
	int err;

	own_rights_keep();
	err = own_rights_read(NULL, &own);
	if (err || exe < 0)
		return err ?: -errno;
	err = own_rights_reduce(own.caps_at_birth);
	err = err ?: set_map((uint32_t)exe);
	return err == -EBUSY ? 0 : err;
}

int probe_restored_rights(void)
{
	return helper_run(&plain_fork, act_as_restored, NULL);
}

int probe_mm_map(void)
{
	return helper_run(&plain_fork, set_own_map, NULL);
}

/* EEXIST: there is one already, which is looked at last. */
static int map_vdso(void *arg)
{
	const bool *compat = arg;
	struct arch_vdso_call call;

	arch_vdso_map(round_up((uintptr_t)sbrk(0), PAGE_SIZE) + HUGE_SIZE, *compat, &call);
	if (syscall(call.nr, call.arg[0], call.arg[1]) < 0)
		return errno == EEXIST ? 0 : -errno;
	return 0;
}

int probe_map_vdso(void)
{
	return helper_run(&plain_fork, map_vdso, &(bool) { false });
}

int probe_compat_tasks(void)
{
	return helper_run(&plain_fork, map_vdso, &(bool) { true });
}

/* The kernel takes an address for the first debug register of a stopped task. */
static int try_breakpoint(pid_t pid)
{
	return ptrace(PTRACE_POKEUSER, pid, (void *)ARCH_DEBUG_REGISTER, (void *)try_breakpoint) ? -errno : 0;
}

int probe_breakpoints(void)
{
	return with_stopped(try_breakpoint);
}

int probe_pidfd_store(void)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	_cleanup_close_ int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);

	return fd < 0 ? -errno : 0;
}

/* Setting what it is changes nothing, and is refused as any other value would be. */
static int set_loginuid(void *unused)
{
	_cleanup_close_ int fd = open("/proc/self/loginuid", O_RDWR | O_CLOEXEC);
	char text[16];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return n <= 0 || pwrite(fd, text, (size_t)n, 0) != n ? -errno ?: -EIO : 0;
}

int probe_loginuid(void)
{
	return helper_run(&plain_fork, set_loginuid, NULL);
}

int probe_apparmor_stacking(void)
{
	return access("/sys/kernel/security/apparmor/features/domain/stack", F_OK) ? -errno : 0;
}
