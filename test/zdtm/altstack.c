/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Threads inside signal handlers: on the alternate stack and on the normal one, nested, with signals blocked by the
 * handler; all of them return to where they were.
 *
 * zdtm: restores 2
 */
#include <pthread.h>

#include "zdtm.h"

#define N 4

static char stacks[N][32768] __attribute__((aligned(16)));
static __thread int me;
static volatile int inside, nested[N], back[N];

static void inner(int sig)
{
	char here;

	nested[me] = sig;
	inside++;
	zdtm_wait();
	if (me % 2 == 0)
		zdtm_check(&here >= stacks[me] && &here < stacks[me] + 32768, "thread %d is not on its alternate stack",
		           me);
}

static void outer(int sig)
{
	sigset_t set;

	raise(SIGUSR2);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	zdtm_check(sigismember(&set, SIGUSR1) && sigismember(&set, SIGHUP) && !sigismember(&set, SIGUSR2),
	           "thread %d: the handler's mask", me);
}

static void *thread(void *arg)
{
	volatile double x = 1.5;
	sigset_t set;
	stack_t ss;

	me = (long)arg;
	if (me % 2 == 0)
		zdtm_must(!sigaltstack(&(stack_t) { .ss_sp = stacks[me], .ss_size = 32768 }, NULL));
	pthread_kill(pthread_self(), SIGUSR1);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	zdtm_check(!sigismember(&set, SIGUSR1) && !sigismember(&set, SIGHUP), "thread %d: mask after the handlers", me);
	zdtm_check(x == 1.5, "thread %d: a variable", me);
	sigaltstack(NULL, &ss);
	zdtm_check(me % 2 ? ss.ss_flags == SS_DISABLE : ss.ss_flags == 0, "thread %d: flags %x", me, ss.ss_flags);
	back[me] = 1;
	return NULL;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = outer, .sa_flags = SA_ONSTACK };
	pthread_t t[N];

	sigemptyset(&sa.sa_mask);
	sigaddset(&sa.sa_mask, SIGHUP);
	zdtm_must(!sigaction(SIGUSR1, &sa, NULL));
	sa.sa_handler = inner;
	zdtm_must(!sigaction(SIGUSR2, &sa, NULL));
	for (long i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t[i], NULL, thread, (void *)i));
	while (inside < N)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		pthread_join(t[i], NULL);
		zdtm_check(back[i] && nested[i] == SIGUSR2, "thread %d: back %d, nested %d", i, back[i], nested[i]);
	}
	zdtm_pass();
}
