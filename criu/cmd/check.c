/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu check: what the kernel and this sandbox let the tool do, found out by doing it, never from a version. Commands
 * do not ask here: each finds out by the errno of the call that it needs.
 */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "agent/ptrace.h"
#include "cmd/cmd.h"
#include "core/log.h"
#include "uapi/futex_waitv.h"
#include "uapi/pagemap.h"
#include "uapi/prctl_new.h"

struct feature {
	const char *name, *what_for;
	bool required;
	int (*probe)(void); /* 0 or a negative errno */
};

/* A child to be traced, stopped; *pid is 0 when there is none. */
static int traced_child(pid_t *pid, unsigned long options)
{
	int status, err;

	*pid = fork();
	if (*pid < 0)
		return -errno;
	if (!*pid)
		for (;;)
			pause();
	err = ptrace_seize(*pid, options);
	if (!err)
		err = ptrace_interrupt(*pid);
	return err ?: ptrace_wait(*pid, 1000, &status);
}

static int end_child(pid_t pid, int err)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
	return err;
}

static int probe_ptrace(void)
{
	pid_t pid;
	int err = traced_child(&pid, 0);

	return pid > 0 ? end_child(pid, err) : err;
}

static int probe_suspend_seccomp(void)
{
	pid_t pid;
	int err = traced_child(&pid, PTRACE_O_SUSPEND_SECCOMP);

	return pid > 0 ? end_child(pid, err) : err;
}

static int probe_rseq(void)
{
	struct {
		uint64_t pointer;
		uint32_t size, signature, flags, pad;
	} conf;
	pid_t pid;
	int err = traced_child(&pid, 0);

	if (!err && ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof(conf), &conf) < 0)
		err = -errno;
	return pid > 0 ? end_child(pid, err) : err;
}

static int result(long ret)
{
	return ret < 0 ? -errno : 0;
}

/* A call that is there complains of its arguments. */
static int there(long ret)
{
	return ret < 0 && errno == ENOSYS ? -ENOSYS : 0;
}

static int probe_set_tid(void)
{
	pid_t pid = fork(), wanted = pid;
	uint64_t args[11] = { [4] = SIGCHLD, [8] = (uintptr_t)&wanted, [9] = 1 };
	long child;

	if (pid < 0)
		return -errno;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	child = syscall(SYS_clone3, args, sizeof(args)); /* the number that has just become free */
	if (!child)
		_exit(0);
	if (child > 0)
		waitpid((pid_t)child, NULL, 0);
	return child < 0 && errno != EEXIST ? -errno : 0;
}

static int probe_map_files(void)
{
	_cleanup_close_ int fd = -1;
	char path[80];
	void *p = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)p, (unsigned long)p + PAGE_SIZE);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	munmap(p, PAGE_SIZE);
	return result(fd);
}

static int probe_pidfd_getfd(void)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	_cleanup_close_ int fd = -1;

	if (pidfd < 0)
		return -errno;
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, pidfd, 0);
	return result(fd);
}

static int probe_kcmp(void)
{
	return result(syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
}

static int probe_vm_readv(void)
{
	char from = 1, to = 0;
	struct iovec local = { &to, 1 }, remote = { &from, 1 };

	return result(process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
}

static int probe_set_mm(void)
{
	unsigned size;

	return result(prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0));
}

static int probe_pagemap_scan(void)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct pm_scan_arg arg = { .size = sizeof(arg), .end = PAGE_SIZE };

	return fd < 0 ? -errno : result(ioctl(fd, PAGEMAP_SCAN, &arg));
}

static int probe_futex_waitv(void)
{
	return there(syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0));
}

static int probe_timer_ids(void)
{
	int err = result(prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0));

	prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_OFF, 0, 0, 0);
	return err;
}

static int probe_memfd_exec(void)
{
	_cleanup_close_ int fd = memfd_create("criu-check", MFD_CLOEXEC);
	static char *const none[] = { NULL };

	if (fd < 0)
		return -errno;
	syscall(SYS_execveat, fd, "", none, none, AT_EMPTY_PATH);
	return errno == ENOEXEC ? 0 : -errno; /* an empty file is no program, but one may be there */
}

static const struct feature features[] = {
	{ "ptrace", "stopping tasks (CAP_SYS_PTRACE)", true, probe_ptrace },
	{ "process_vm_readv", "reading memory", true, probe_vm_readv },
	{ "pidfd_getfd", "reading descriptors (5.6)", true, probe_pidfd_getfd },
	{ "kcmp", "what tasks share", true, probe_kcmp },
	{ "map_files", "the agent's area and mapped files (CAP_CHECKPOINT_RESTORE)", true, probe_map_files },
	{ "clone3_set_tid", "pids as they were (CAP_CHECKPOINT_RESTORE)", true, probe_set_tid },
	{ "set_mm_map", "addresses that /proc shows", true, probe_set_mm },
	{ "memfd_exec", "starting restored processes", true, probe_memfd_exec },
	{ "suspend_seccomp", "tasks with seccomp filters", false, probe_suspend_seccomp },
	{ "get_rseq_conf", "restartable sequences (5.13)", false, probe_rseq },
	{ "pagemap_scan", "finding pages fast (6.7)", false, probe_pagemap_scan },
	{ "futex_waitv", "agents that wait without waking up (5.16)", false, probe_futex_waitv },
	{ "timer_cr_ids", "POSIX timers with large numbers (6.16)", false, probe_timer_ids },
};

int cmd_check(const struct options *o, struct events *events)
{
	int required = 0, optional = 0;

	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];
		int err = f->probe();

		if (!err) {
			log_info("%s: there", f->name);
			continue;
		}
		required = f->required && !required ? err : required;
		optional = f->required || optional ? optional : err;
		log_errno(err, "%s is missing, %s: %s", f->name, f->required ? "and is needed" : "for some checkpoints",
		          f->what_for);
	}
	log_msg("%s", required   ? "Does not look good."
	              : optional ? "Looks good but some features are missing."
	                         : "Looks good.");
	return required ?: optional;
}
