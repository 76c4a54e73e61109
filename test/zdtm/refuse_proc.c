/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files in /proc that would not be the same again: of a process outside of the tree, of a single descriptor, of memory
 * that a zombie has no more, of a thread that is gone while its process is not.
 *
 * zdtm: refuse fd 100: /proc/[0-9]+/status: a file of pid [0-9]+ \(.+\), which is outside of the tree
 * zdtm: refuse fd 101: /proc/[0-9]+/fdinfo/0: a file of a single descriptor
 * zdtm: refuse fd 102: /proc/[0-9]+/environ: its process is a zombie
 * zdtm: refuse fd 103: /proc/[0-9]+/task/[0-9]+/stat: the thread is gone
 */
#include <pthread.h>

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
	snprintf(path, sizeof(path), "/proc/%d/status", getppid());
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
