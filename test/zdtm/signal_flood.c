/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process to which signals never cease to come, each with its number, from a thread of its own: none is lost, comes
 * twice or out of turn, whoever stops the threads, and whoever of those is killed. Argument: MiB of memory.
 *
 * zdtm: victim points random
 * zdtm: frozen
 * zdtm: allow status/SigBlk  any  a handler is at work, or not
 */
#include <pthread.h>
#include <sys/mman.h>

#include "zdtm.h"

#define AHEAD 20 /* at most so many in the queue */

static volatile unsigned long sent, got, wrong;
static volatile int stopping;

static void take(int signo, siginfo_t *si, void *context)
{
	(void)signo;
	(void)context;
	if ((unsigned long)si->si_value.sival_ptr != got)
		wrong++;
	got++;
}

static void *flooding(void *arg)
{
	(void)arg;
	while (!stopping) {
		union sigval v = { .sival_ptr = (void *)sent };

		if (sent - got >= AHEAD) {
			usleep(100);
			continue;
		}
		zdtm_must(!sigqueue(getpid(), SIGRTMIN, v));
		sent++;
	}
	return NULL;
}

static void *resting(void *arg)
{
	(void)arg;
	while (!stopping)
		usleep(1000);
	return NULL;
}

int main(int argc, char **argv)
{
	size_t len = (argc > 1 ? (size_t)atol(argv[1]) : 1) << 20;
	char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sigaction sa = { .sa_sigaction = take, .sa_flags = SA_SIGINFO | SA_RESTART };
	pthread_t threads[2];
	sigset_t set;

	zdtm_must(p != MAP_FAILED);
	memset(p, 1, len);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(SIG_BLOCK, &set, NULL); /* the two threads: the first one takes all */
	zdtm_must(!sigaction(SIGRTMIN, &sa, NULL));
	zdtm_must(!pthread_create(&threads[0], NULL, flooding, NULL));
	zdtm_must(!pthread_create(&threads[1], NULL, resting, NULL));
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	zdtm_ready();
	while (zdtm_asked()) {
		zdtm_check(!wrong, "%lu of %lu signals came out of turn", wrong, got);
		zdtm_answer();
	}
	stopping = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	zdtm_check(sent == got && !wrong, "%lu signals sent, %lu came, %lu out of turn", sent, got, wrong);
	zdtm_pass();
}
