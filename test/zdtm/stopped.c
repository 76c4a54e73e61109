/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stopped tasks stay stopped, one by SIGSTOP, one by SIGTSTP, one with threads; the parent may ask why, and continue
 * them.
 *
 * zdtm: restores 2
 */
#include <pthread.h>

#include "zdtm.h"

#define N 3

static void *thread(void *arg)
{
	zdtm_wait();
	return NULL;
}

int main(void)
{
	static const int sigs[N] = { SIGSTOP, SIGTSTP, SIGSTOP };
	pid_t kids[N];
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
	usleep(30000);
	for (int i = 0; i < N; i++) {
		kill(kids[i], sigs[i]);
		/* seen and left: the news of the first one stays to be fetched */
		zdtm_must(!waitid(P_PID, kids[i], &(siginfo_t) { 0 }, WSTOPPED | (i ? 0 : WNOWAIT)));
	}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		char path[64], buf[300] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", kids[i]);
		fd = open(path, O_RDONLY);
		zdtm_check(fd >= 0 && read(fd, buf, 299) > 0 && strstr(buf, ") T "), "child %d is not stopped: %s", i,
		           buf);
		close(fd);
		kill(kids[i], SIGCONT);
		zdtm_check(waitpid(kids[i], &status, WCONTINUED) == kids[i] && WIFCONTINUED(status), "continued %d: %x",
		           i, status);
		usleep(20000);
		kill(kids[i], SIGTERM);
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && status == SIGTERM, "ended %d: %x", i, status);
	}
	zdtm_pass();
}
