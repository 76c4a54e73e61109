/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More threads than are asked one by one, some of them with something of their own: name, alternate stack, mask, timer
 * slack. Each is asked again and again, for the fault campaigns.
 *
 * zdtm: victim points random
 */
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define THREADS 40

static unsigned asked, said;
static char stacks[THREADS][16384];

static void state(char text[static 256])
{
	char name[20] = "";
	sigset_t mask;
	stack_t stack;

	sigaltstack(NULL, &stack);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	prctl(PR_GET_NAME, name, 0, 0, 0);
	snprintf(text, 256, "%s stack %p %zu slack %d mask %d", name, stack.ss_sp, stack.ss_size,
	         prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), sigismember(&mask, SIGUSR1));
}

static void change(long i)
{
	stack_t stack = { .ss_sp = stacks[i], .ss_size = sizeof(stacks[i]) };
	char name[16];
	sigset_t mask;

	snprintf(name, sizeof(name), "victim %ld", i);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	if (i % 2)
		zdtm_must(!sigaltstack(&stack, NULL));
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	if (i % 3 == 0)
		zdtm_must(!pthread_sigmask(SIG_BLOCK, &mask, NULL));
	if (i % 13 == 0) /* such a one is asked itself */
		zdtm_must(!prctl(PR_SET_TIMERSLACK, 60000 + i, 0, 0, 0));
}

static void *thread(void *arg)
{
	char before[256], now[256];
	unsigned round = 0;

	change((long)arg);
	state(before);
	for (;; zdtm_nap()) {
		if (__atomic_load_n(&asked, __ATOMIC_SEQ_CST) == round)
			continue;
		round++;
		state(now);
		zdtm_check(!strcmp(before, now), "a thread had %s and has %s", before, now);
		__atomic_add_fetch(&said, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void ask_all(void)
{
	unsigned all = __atomic_add_fetch(&asked, 1, __ATOMIC_SEQ_CST) * THREADS;

	while (__atomic_load_n(&said, __ATOMIC_SEQ_CST) != all)
		zdtm_nap();
}

int main(void)
{
	pthread_t t;

	for (long i = 0; i < THREADS; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)i));
	ask_all();
	zdtm_ready();
	while (zdtm_asked()) {
		ask_all();
		zdtm_answer();
	}
	ask_all();
	zdtm_pass();
}
