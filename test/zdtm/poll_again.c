/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A poll() without a timeout never ends with EINTR: after a restore, after it was stopped and continued before the dump
 * (it is then in restart_syscall(2)), in threads, and after checkpoints that left it running (poll_again.py).
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#include "zdtm.h"

#define KIDS 4

static void *polls(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };
	int n = poll(&p, 1, -1);

	_exit(zdtm_check(n == 1, "poll() says %d: %s", n, n < 0 ? strerror(errno) : "") ? 0 : 1);
}

static void rests(pid_t pid, char state)
{
	char path[64], line[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	for (;;) {
		FILE *f = fopen(path, "r");
		char *end;

		zdtm_must(f && fgets(line, sizeof(line), f));
		fclose(f);
		end = strrchr(line, ')');
		if (end && end[2] == state)
			return;
		zdtm_nap();
	}
}

static pid_t start(int *fd, int in_thread, int stopped)
{
	pid_t pid = fork();
	pthread_t thread;

	zdtm_must(pid >= 0);
	if (!pid) {
		if (in_thread)
			zdtm_must(!pthread_create(&thread, NULL, polls, fd) && !pthread_join(thread, NULL));
		polls(fd);
	}
	rests(pid, 'S');
	if (!stopped)
		return pid;
	for (int i = 0; i < 2; i++) {
		zdtm_must(!kill(pid, SIGSTOP));
		rests(pid, 'T');
		zdtm_must(!kill(pid, SIGCONT));
		rests(pid, 'S');
	}
	return pid;
}

int main(void)
{
	int pipes[KIDS][2], status;
	pid_t kids[KIDS];

	for (int i = 0; i < KIDS; i++) {
		zdtm_must(!pipe(pipes[i]));
		kids[i] = start(&pipes[i][0], i & 1, i & 2);
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < KIDS; i++) {
		zdtm_check(!waitpid(kids[i], &status, WNOHANG), "child %d has ended already", i);
		zdtm_must(write(pipes[i][1], "x", 1) == 1);
	}
	for (int i = 0; i < KIDS; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child %d: status %x", i, status);
	zdtm_pass();
}
