/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restored by processes that live for a moment only, and by memory that the tool has open: pidfds and files in /proc of
 * what is gone, a thread's pidfd, memfds (mapped, sealed). The tool is killed on the way.
 *
 * zdtm: victim points random
 * zdtm: flavour no pidns
 */
#include <pthread.h>
#include <sys/mman.h>

#include "zdtm.h"

static pid_t tid;

static void *thread(void *arg)
{
	__atomic_store_n(&tid, (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	for (;;)
		pause();
	return NULL;
}

static int open_gone(int *file)
{
	char path[40];
	pid_t pid = fork();
	int fd;

	zdtm_must(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	zdtm_must((fd = syscall(SYS_pidfd_open, pid, 0)) >= 0 && (*file = open(path, O_RDONLY)) >= 0);
	zdtm_must(!kill(pid, SIGKILL) && waitpid(pid, NULL, 0) == pid);
	return fd;
}

int main(void)
{
	int gone, file, th, mem, sealed;
	pthread_t t;
	char *map, c;
	long n = 0;

	gone = open_gone(&file);
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	while (!__atomic_load_n(&tid, __ATOMIC_ACQUIRE))
		zdtm_nap();
	th = syscall(SYS_pidfd_open, tid, O_EXCL); /* since 6.9 */
	zdtm_must((mem = memfd_create("shared", 0)) >= 0 && !ftruncate(mem, 8192));
	map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	zdtm_must(map != MAP_FAILED && (sealed = memfd_create("sealed", MFD_ALLOW_SEALING)) >= 0);
	zdtm_must(write(sealed, "x", 1) == 1 && !fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
	zdtm_ready();
	while (zdtm_asked()) {
		n++;
		*(long *)(map + 4096) = n;
		zdtm_check(pread(mem, &n, sizeof(n), 4096) == sizeof(n) && *(long *)(map + 4096) == n, "the memfd");
		zdtm_check(syscall(SYS_pidfd_send_signal, gone, 0, NULL, 0) == -1 && errno == ESRCH, "the pidfd");
		zdtm_check(pread(file, &c, 1, 0) == -1 && errno == ESRCH, "the file in /proc");
		zdtm_check(th < 0 || !syscall(SYS_pidfd_send_signal, th, 0, NULL, 0), "the thread's pidfd");
		zdtm_check(pwrite(sealed, "y", 1, 0) == -1 && errno == EPERM, "the seal");
		zdtm_answer();
	}
	zdtm_pass();
}
