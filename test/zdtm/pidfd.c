/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pidfds: of itself, a child, a zombie, a thread, the leader as a thread, with O_NONBLOCK; of two processes that are
 * gone, by two descriptions of the one and a duplicate; one that was passed to a child.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: flavour no pidns
 */
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>

#include "zdtm.h"

#define THREAD O_EXCL

struct pidfd_info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ids[8];
	int32_t exit_code;
};

#define GET_INFO  _IOWR(0xff, 11, struct pidfd_info)
#define INFO_EXIT 8

static int open_pidfd(pid_t pid, unsigned flags)
{
	int fd = syscall(SYS_pidfd_open, pid, flags);

	zdtm_must(fd >= 0);
	return fd;
}

static int send_signal(int fd, int sig)
{
	return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) ? -errno : 0;
}

/* The number of its process or thread, or -1, as fdinfo has it. */
static int pid_of(int fd)
{
	char path[40], text[400] = "", *at;
	int info, n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY);
	n = read(info, text, sizeof(text) - 1);
	close(info);
	at = n > 0 ? strstr(text, "\nPid:") : NULL;
	return at ? atoi(at + 5) : -2;
}

static int readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* -1: the kernel does not say. */
static int exit_code(int fd)
{
	struct pidfd_info pi = { .mask = INFO_EXIT };

	return ioctl(fd, GET_INFO, &pi) || !(pi.mask & INFO_EXIT) ? -1 : pi.exit_code;
}

static ino_t inode(int fd)
{
	struct stat st;

	zdtm_must(!fstat(fd, &st));
	return st.st_ino;
}

static pid_t tid;
static int thread_may_end;

static void *thread(void *arg)
{
	__atomic_store_n(&tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	while (!__atomic_load_n(&thread_may_end, __ATOMIC_ACQUIRE))
		zdtm_nap();
	return NULL;
}

static pid_t child(int how)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (pid)
		return pid;
	if (how < 0)
		kill(getpid(), SIGKILL);
	else if (how)
		_exit(how);
	for (;;)
		pause();
}

/* A child that has its parent's pidfd, opened before it was born. */
static pid_t watcher(int parent_fd, pid_t parent)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (pid)
		return pid;
	zdtm_wait();
	zdtm_check(pid_of(parent_fd) == parent && !send_signal(parent_fd, 0), "the parent's pidfd in a child");
	_exit(0);
}

static int has_threads(void)
{
	int fd = syscall(SYS_pidfd_open, getpid(), THREAD);

	close(fd);
	return fd >= 0;
}

int main(void)
{
	pid_t kid = child(0), dead1 = child(7), dead2 = child(-1), zombie = child(3), watch;
	int self = open_pidfd(getpid(), 0), alive = open_pidfd(kid, O_NONBLOCK), threads = has_threads();
	int gone = open_pidfd(dead1, 0), again = open_pidfd(dead1, O_NONBLOCK), other = open_pidfd(dead2, 0);
	int dup_gone = dup(gone), undead = open_pidfd(zombie, 0), th = -1, leader = -1, status, code1, code2;
	pthread_t t;
	siginfo_t si = { 0 };

	zdtm_must(waitpid(dead1, &status, 0) == dead1 && waitpid(dead2, &status, 0) == dead2);
	zdtm_must(!waitid(P_PID, zombie, &si, WEXITED | WNOWAIT));
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
		zdtm_nap();
	if (threads) {
		th = open_pidfd(tid, THREAD | O_NONBLOCK);
		leader = open_pidfd(getpid(), THREAD);
	}
	code1 = exit_code(gone);
	code2 = exit_code(other);
	watch = watcher(self, getpid());
	zdtm_ready();
	zdtm_wait();
	zdtm_check(pid_of(self) == getpid() && !send_signal(self, 0), "its own: %d", pid_of(self));
	zdtm_check(pid_of(alive) == kid && fcntl(alive, F_GETFL) & O_NONBLOCK, "a child's: %d", pid_of(alive));
	zdtm_check(!(fcntl(self, F_GETFL) & O_NONBLOCK) && fcntl(self, F_GETFD) == FD_CLOEXEC, "flags");
	zdtm_check(!readable(alive) && readable(undead) && readable(gone), "who has ended");
	zdtm_check(pid_of(gone) == -1 && pid_of(again) == -1 && pid_of(other) == -1, "those that are gone");
	zdtm_check(send_signal(gone, 0) == -ESRCH && send_signal(other, 0) == -ESRCH, "signals to those");
	zdtm_check(inode(gone) == inode(again) && inode(gone) != inode(other), "whose they are");
	zdtm_check(exit_code(gone) == code1 && exit_code(again) == code1 && exit_code(other) == code2,
	           "how they ended: %x (was %x), %x (was %x)", exit_code(gone), code1, exit_code(other), code2);
	zdtm_check(!syscall(SYS_kcmp, getpid(), getpid(), 0, gone, dup_gone) &&
	               syscall(SYS_kcmp, getpid(), getpid(), 0, gone, again),
	           "which descriptions are shared");
	if (threads) {
		zdtm_check(pid_of(th) == tid && fcntl(th, F_GETFL) & O_NONBLOCK && fcntl(th, F_GETFL) & THREAD,
		           "a thread's: %d, flags %o", pid_of(th), fcntl(th, F_GETFL));
		zdtm_check(pid_of(leader) == getpid() && fcntl(leader, F_GETFL) & THREAD, "the leader's");
		__atomic_store_n(&thread_may_end, 1, __ATOMIC_RELEASE);
		zdtm_check(!pthread_join(t, NULL) && readable(th) && !readable(leader), "the thread that ended");
	}
	zdtm_check(!waitid(P_PIDFD, undead, &si, WEXITED) && si.si_pid == zombie && si.si_status == 3, "the zombie");
	zdtm_check(!send_signal(alive, SIGKILL) && !waitid(P_PID, kid, &si, WEXITED) && readable(alive), "the child");
	zdtm_check(waitpid(watch, &status, 0) == watch && !status, "the watching child: %x", status);
	zdtm_pass();
}
