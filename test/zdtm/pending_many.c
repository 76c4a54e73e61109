/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Long queues of signals: 1000 of one real-time number with their values, for the process, and as many for each of two
 * threads, with numbers in between; in their order, to the last one.
 *
 * zdtm: iters 3
 */
#include <pthread.h>

#include "zdtm.h"

#define N 1000

static unsigned up, done;

static void fill(pthread_t *whom, int from)
{
	for (int i = 0; i < N; i++) {
		union sigval v = { .sival_ptr = (void *)((unsigned long)from << 32 | (unsigned)i) };
		int sig = SIGRTMIN + (i % 10 == 9 ? 1 : 0);

		zdtm_must(!(whom ? pthread_sigqueue(*whom, sig, v) : sigqueue(getpid(), sig, v)));
	}
}

/* Lower numbers first, each in the order in which they were sent. */
static void take(const char *who, int from)
{
	sigset_t set;
	siginfo_t si;

	for (int low = 1; low >= 0; low--)
		for (int i = 0; i < N; i++) {
			unsigned long want = (unsigned long)from << 32 | (unsigned)i;

			if ((i % 10 != 9) != low)
				continue;
			sigemptyset(&set);
			sigaddset(&set, SIGRTMIN + !low);
			if (!zdtm_check(sigtimedwait(&set, &si, &(struct timespec) { 0 }) == SIGRTMIN + !low &&
			                    (unsigned long)si.si_value.sival_ptr == want && si.si_code == SI_QUEUE &&
			                    si.si_pid == getpid() && si.si_uid == getuid(),
			                "%s: signal %d: value %p", who, i, si.si_value.sival_ptr))
				return;
		}
}

static void *thread(void *arg)
{
	pthread_t self = pthread_self();
	int i = (int)(long)arg;

	fill(&self, i);
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	take("thread", i); /* its own come before the process's */
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void)
{
	sigset_t set;
	pthread_t t;

	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	for (long i = 1; i <= 2; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)i));
	while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < 2)
		zdtm_nap();
	fill(NULL, 3);
	zdtm_ready();
	zdtm_wait();
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < 2)
		zdtm_nap();
	take("process", 3);
	sigpending(&set);
	zdtm_check(sigisemptyset(&set), "more signals are pending than were sent");
	zdtm_pass();
}
