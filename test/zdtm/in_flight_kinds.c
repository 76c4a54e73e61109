/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In flight, in the queue of a socket, and in nobody's table: a memfd (sealed), pidfds of a child, a thread and of a
 * process that is gone, of which a file in /proc is too, a namespace, a file in /proc of a child.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: flavour no pidns
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

enum { MEMFD, READER, CHILD, THREAD, GONE, GONE_FILE, NAMESPACE, CHILD_FILE, N };

static union {
	char bytes[CMSG_SPACE(N * sizeof(int))];
	struct cmsghdr align;
} control;

static void send_all(int sock, const int *fds)
{
	char byte = 'b';
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = &control.align;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(N * sizeof(int));
	memcpy(CMSG_DATA(c), fds, N * sizeof(int));
	zdtm_must(sendmsg(sock, &mh, 0) == 1);
	for (int i = 0; i < N; i++)
		close(fds[i]);
}

static int receive_all(int sock, int *fds)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	if (recvmsg(sock, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != 1 ||
	    control.align.cmsg_len != CMSG_LEN(N * sizeof(int)))
		return 0;
	memcpy(fds, CMSG_DATA(&control.align), N * sizeof(int));
	return 1;
}

static pid_t tid;

static void *thread(void *arg)
{
	__atomic_store_n(&tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static pid_t make_child(void)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	return pid;
}

static int proc_file(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	return open(path, O_RDONLY);
}

static int pid_in(int fd)
{
	char text[2000] = "", *at;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	at = n > 0 ? strstr(text, "\nPid:") : NULL;
	return at ? atoi(at + 5) : -1;
}

static int signal_to(int fd)
{
	return syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) ? -errno : 0;
}

int main(void)
{
	pid_t kid = make_child(), dead = make_child();
	int fds[N], pair[2], has_threads;
	struct stat st, uts;
	char buf[8] = "";
	pthread_t t;

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && !pthread_create(&t, NULL, thread, NULL));
	while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
		zdtm_nap();
	zdtm_must((fds[MEMFD] = memfd_create("in flight", MFD_ALLOW_SEALING)) >= 0);
	zdtm_must(write(fds[MEMFD], "data", 4) == 4 && !fcntl(fds[MEMFD], F_ADD_SEALS, F_SEAL_GROW));
	zdtm_must((fds[READER] = proc_file(getpid())) >= 0);
	fds[CHILD] = syscall(SYS_pidfd_open, kid, 0);
	fds[THREAD] = syscall(SYS_pidfd_open, tid, O_EXCL); /* since 6.9 */
	has_threads = fds[THREAD] >= 0;
	if (!has_threads)
		fds[THREAD] = syscall(SYS_pidfd_open, kid, 0);
	fds[GONE] = syscall(SYS_pidfd_open, dead, 0);
	fds[GONE_FILE] = proc_file(dead);
	zdtm_must(!kill(dead, SIGKILL) && waitpid(dead, NULL, 0) == dead);
	zdtm_must((fds[NAMESPACE] = open("/proc/self/ns/uts", O_RDONLY)) >= 0);
	fds[CHILD_FILE] = proc_file(kid);
	for (int i = 0; i < N; i++)
		zdtm_must(fds[i] >= 0);
	send_all(pair[0], fds);
	zdtm_ready();
	zdtm_wait();
	if (!zdtm_check(receive_all(pair[1], fds), "the message did not come whole"))
		zdtm_pass();
	zdtm_check(pread(fds[MEMFD], buf, 8, 0) == 4 && !strcmp(buf, "data"), "the memfd's data: %s", buf);
	zdtm_check(fcntl(fds[MEMFD], F_GET_SEALS) == F_SEAL_GROW && lseek(fds[MEMFD], 0, SEEK_CUR) == 4, "the memfd");
	zdtm_check(pid_in(fds[READER]) == getpid() && pid_in(fds[CHILD_FILE]) == kid, "files in /proc");
	zdtm_check(pid_in(fds[GONE_FILE]) == -1 && signal_to(fds[GONE]) == -ESRCH, "of the one that is gone");
	zdtm_check(!signal_to(fds[CHILD]) && (!has_threads || fcntl(fds[THREAD], F_GETFL) & O_EXCL), "pidfds");
	zdtm_check(!signal_to(fds[THREAD]), "the thread's pidfd: %s", strerror(errno));
	zdtm_check(!fstat(fds[NAMESPACE], &st) && !stat("/proc/self/ns/uts", &uts) && st.st_ino == uts.st_ino,
	           "the namespace");
	kill(kid, SIGKILL);
	zdtm_pass();
}
