/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tree that forks and makes threads all the time while it is frozen: nobody is forgotten, nobody comes twice. Each
 * chain of processes hands a token to its next process and ends; at the end the tokens are counted.
 *
 * zdtm: frozen
 * zdtm: iters 3
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define CHAINS 6

static struct {
	int stop, ended, links[CHAINS], threads[CHAINS];
} * sh;

static void *thread(void *arg)
{
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void chain(int i)
{
	for (;;) {
		pthread_t t;
		pid_t kid;

		if (__atomic_load_n(&sh->stop, __ATOMIC_SEQ_CST)) {
			__atomic_add_fetch(&sh->ended, 1, __ATOMIC_SEQ_CST);
			_exit(0);
		}
		if (pthread_create(&t, NULL, thread, &sh->threads[i]) || pthread_join(t, NULL))
			_exit(1);
		__atomic_add_fetch(&sh->links[i], 1, __ATOMIC_SEQ_CST);
		kid = fork();
		zdtm_must(kid >= 0);
		if (kid)
			_exit(0); /* the child goes on; the root, a subreaper, takes it */
		usleep(2000);
	}
}

/* All the time: links that nobody waits for fill the numbers that there are, and then a chain cannot go on (EAGAIN). */
static int reap(void)
{
	int status, bad = 0;

	while (waitpid(-1, &status, WNOHANG) > 0)
		bad += !!status;
	return bad;
}

int main(void)
{
	int status, bad = 0, at[CHAINS];

	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED && !prctl(PR_SET_CHILD_SUBREAPER, 1));
	for (int i = 0; i < CHAINS; i++) {
		pid_t kid = fork();

		zdtm_must(kid >= 0);
		if (!kid)
			chain(i);
	}
	zdtm_ready();
	while (access("verify", F_OK)) {
		bad += reap();
		zdtm_nap();
	}
	for (int i = 0; i < CHAINS; i++)
		at[i] = sh->links[i];
	for (int i = 0; i < CHAINS; i++) {
		for (int k = 0; k < 6000 && __atomic_load_n(&sh->links[i], __ATOMIC_SEQ_CST) == at[i]; k++) {
			bad += reap();
			zdtm_nap();
		}
		zdtm_check(sh->links[i] > at[i], "chain %d stands still at %d, %d links ended badly", i, at[i], bad);
	}
	__atomic_store_n(&sh->stop, 1, __ATOMIC_SEQ_CST);
	for (pid_t pid;;) {
		pid = wait(&status);
		if (pid < 0 && errno == ECHILD)
			break;
		bad += pid > 0 && status;
	}
	zdtm_check(sh->ended == CHAINS, "%d chains of %d ended", sh->ended, CHAINS);
	zdtm_check(!bad, "%d processes ended badly", bad);
	for (int i = 0; i < CHAINS; i++)
		zdtm_check(sh->threads[i] == sh->links[i], "chain %d: %d threads, %d links", i, sh->threads[i],
		           sh->links[i]);
	zdtm_pass();
}
