/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files in /proc that would not be the same again: of a process outside of the tree, of a single descriptor, of memory
 * that a zombie has no more, of a thread that is gone while its process is not.
 *
 * zdtm: refuse fd 100: /proc/[0-9]+/status: a file of pid [0-9]+ \(.+\), which is outside of the tree
 * zdtm: refuse fd 101: /proc/[0-9]+/fdinfo/0: a file of a single descriptor
 * zdtm: refuse fd 102: /proc/[0-9]+/environ: its process is a zombie
 * zdtm: refuse fd 103: /proc/[0-9]+/task/[0-9]+/stat: the thread is gone
 * zdtm: flavour no pidns
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "zdtm.h"

static void at(int number, const char *path)
{
	int fd = open(path, O_RDONLY);

	zdtm_must(fd >= 0 && dup2(fd, number) == number);
	close(fd);
}

static void *thread(void *arg)
{
	at(103, "/proc/thread-self/stat");
	return NULL;
}

/* A process that is no descendant any more, and ends with us. The first process would be known again. */
static pid_t outsider(void)
{
	pid_t self = getpid(), middle,
	      *pid = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), it;

	zdtm_must(pid != MAP_FAILED);
	middle = fork();
	zdtm_must(middle >= 0);
	if (!middle) {
		pid_t child = fork();

		if (child) {
			*pid = child;
			_exit(0);
		}
		setsid();
		while (!kill(self, 0))
			usleep(20000);
		_exit(0);
	}
	zdtm_must(waitpid(middle, NULL, 0) == middle && *pid > 0);
	it = *pid;
	munmap(pid, 4096);
	return it;
}

int main(void)
{
	char path[40];
	siginfo_t si;
	pid_t zombie = fork();
	pthread_t t;

	zdtm_must(zombie >= 0);
	if (!zombie)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/status", outsider());
	at(100, path);
	at(101, "/proc/self/fdinfo/0");
	snprintf(path, sizeof(path), "/proc/%d/environ", zombie);
	at(102, path);
	zdtm_must(!kill(zombie, SIGKILL) && !waitid(P_PID, zombie, &si, WEXITED | WNOWAIT));
	zdtm_must(!pthread_create(&t, NULL, thread, NULL) && !pthread_join(t, NULL));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(fcntl(100, F_GETFD) >= 0, "the descriptor is gone");
	zdtm_pass();
}
