/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A child with a parent-death signal, whose parent's first thread has ended: when a restored one ended again, the child
 * would get the signal.
 *
 * zdtm: refuse gets signal 10 when its parent ends \(PR_SET_PDEATHSIG\), and the main thread of its parent
 * zdtm: flavour no pidns
 */
#include <pthread.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

static pid_t process;

static void *other(void *arg)
{
	pid_t child;
	int status;

	zdtm_until(process, ") Z ");
	child = fork();
	zdtm_must(child >= 0);
	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGUSR1);
		zdtm_ready();
		for (;;)
			pause();
	}
	zdtm_wait();
	zdtm_check(waitpid(child, &status, WNOHANG) == 0, "the child has ended: 0x%x", status);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	zdtm_pass();
	return NULL;
}

int main(void)
{
	pthread_t t;

	process = getpid();
	zdtm_must(!pthread_create(&t, NULL, other, NULL));
	syscall(SYS_exit, 0);
	return 0;
}
