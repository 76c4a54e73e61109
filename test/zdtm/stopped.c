/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stopped tasks stay stopped, one by SIGSTOP, two by SIGTSTP, one of these with threads; the parent may ask why, and
 * continue them.
 *
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include <pthread.h>

#include "zdtm.h"

#define N 3

static void *thread(void *arg)
{
	zdtm_wait();
	return NULL;
}

static int is_stopped(pid_t pid, char *buf, size_t size)
{
	char path[64];
	int fd;

	memset(buf, 0, size);
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, buf, size - 1) <= 0)
		return 0;
	close(fd);
	return strstr(buf, ") T ") != NULL;
}

/* A task that SIGTSTP has stopped, and would not stop any more: its parent has left the session. */
static void orphaned(void)
{
	char buf[300];
	int status;
	pid_t kid;

	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		for (;;)
			zdtm_nap();
	zdtm_must(!setpgid(kid, kid) && !kill(kid, SIGTSTP));
	zdtm_must(!waitid(P_PID, kid, &(siginfo_t) { 0 }, WSTOPPED) && setsid() == getpid());
	zdtm_touch("orphaned");
	zdtm_wait();
	zdtm_check(is_stopped(kid, buf, sizeof(buf)), "the orphaned one is not stopped: %s", buf);
	kill(kid, SIGCONT);
	kill(kid, SIGTERM);
	zdtm_check(waitpid(kid, &status, 0) == kid && status == SIGTERM, "the orphaned one ended: %x", status);
	_exit(0);
}

int main(void)
{
	static const int sigs[N] = { SIGSTOP, SIGTSTP, SIGTSTP };
	pid_t kids[N], other;
	int status;

	for (int i = 0; i < N; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (!kids[i]) {
			pthread_t t;

			setpgid(0, 0); /* SIGTSTP does nothing in an orphaned group */
			if (i == 2)
				pthread_create(&t, NULL, thread, NULL);
			for (;;)
				zdtm_nap();
		}
	}
	for (int i = 0; i < N; i++) {
		setpgid(kids[i], kids[i]);
		kill(kids[i], sigs[i]);
		/* seen and left: the news of the first one stays to be fetched */
		zdtm_must(!waitid(P_PID, kids[i], &(siginfo_t) { 0 }, WSTOPPED | (i ? 0 : WNOWAIT)));
	}
	zdtm_must((other = fork()) >= 0);
	if (!other)
		orphaned();
	while (access("orphaned", F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		siginfo_t info = { 0 };
		char buf[300];

		zdtm_check(is_stopped(kids[i], buf, sizeof(buf)), "child %d is not stopped: %s", i, buf);
		if (!waitid(P_PID, kids[i], &info, WSTOPPED | WNOHANG) && info.si_pid)
			zdtm_check(info.si_status == sigs[i], "%d was stopped by signal %d", i, info.si_status);
		else
			zdtm_check(i, "the news of %d is lost", i);
		kill(kids[i], SIGCONT);
		zdtm_check(waitpid(kids[i], &status, WCONTINUED) == kids[i] && WIFCONTINUED(status), "continued %d: %x",
		           i, status);
		usleep(20000);
		kill(kids[i], SIGTERM);
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && status == SIGTERM, "ended %d: %x", i, status);
	}
	zdtm_check(waitpid(other, &status, 0) == other && !status, "the parent of the orphaned one: %x", status);
	zdtm_pass();
}
