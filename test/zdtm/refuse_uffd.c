/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of userfaultfd of which the kernel does not show whose memory they watch: of two processes after a fork
 * with UFFD_FEATURE_EVENT_FORK; and one of a process that has ended.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: a userfaultfd of one of several processes in which the same memory is watched
 * zdtm: refuse fd 101: a userfaultfd of one of several processes in which the same memory is watched
 * zdtm: refuse fd 102: a userfaultfd for the memory of a process that has ended
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE 4096UL

static void make(int number, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	zdtm_must(!ioctl(fd, UFFDIO_API, &api) && dup2(fd, number) == number && !close(fd));
}

static void watch(int fd, void *at)
{
	struct uffdio_register reg = { .range = { (uintptr_t)at, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };

	zdtm_must(!ioctl(fd, UFFDIO_REGISTER, &reg));
}

/* The fork waits for a reader, who gets the child's. */
static void *read_fork(void *arg)
{
	struct uffd_msg m;

	zdtm_must(read(100, &m, sizeof(m)) == sizeof(m) && m.event == UFFD_EVENT_FORK);
	zdtm_must(dup2((int)m.arg.fork.ufd, 101) == 101 && !close((int)m.arg.fork.ufd));
	return NULL;
}

static void ended(void *at)
{
	pid_t pid = (pid_t)syscall(SYS_clone, 0x400 /* CLONE_FILES */ | SIGCHLD, 0, 0, 0, 0);

	zdtm_must(pid >= 0);
	if (!pid) {
		make(102, 0);
		watch(102, at);
		_exit(0);
	}
	zdtm_must(waitpid(pid, NULL, 0) == pid);
}

int main(void)
{
	void *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t thread;
	pid_t pid;

	zdtm_must(at != MAP_FAILED);
	ended(at);
	make(100, UFFD_FEATURE_EVENT_FORK);
	watch(100, at);
	zdtm_must(!pthread_create(&thread, NULL, read_fork, NULL));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	zdtm_must(!pthread_join(thread, NULL));
	zdtm_ready();
	zdtm_wait();
	for (int i = 100; i <= 102; i++)
		zdtm_check(fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	zdtm_pass();
}
