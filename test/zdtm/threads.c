/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 100 threads, each with a name, a signal mask, an alternate stack, a pending signal and a TLS value of its own, one
 * in three holding a robust mutex. Thread ids are kept.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: victim points random
 * zdtm: flavour pidns
 */
#include <pthread.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define N 100

static pthread_t th[N];
static pid_t tids[N];
static pthread_mutex_t robust[N];
static char stacks[N][16384] __attribute__((aligned(16)));
static int ready, go;
static __thread long tls_zero, tls_set = 5;

static void mask_of(int i, sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGUSR1);
	sigaddset(set, SIGRTMIN + i % 20);
}

static void look(int i)
{
	char name[16], want[16];
	sigset_t now, set, pend;
	stack_t ss;

	snprintf(want, sizeof(want), "worker-%d", i);
	prctl(PR_GET_NAME, name);
	zdtm_check(!strcmp(name, want), "thread %d is called %s", i, name);
	zdtm_check(syscall(SYS_gettid) == tids[i], "thread %d: tid %d is %ld", i, tids[i], syscall(SYS_gettid));
	mask_of(i, &set);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int s = 1; s < 64; s++)
		if (s != 32 && s != 33)
			zdtm_check(sigismember(&now, s) == sigismember(&set, s), "thread %d: mask of signal %d", i, s);
	sigpending(&pend);
	zdtm_check(sigismember(&pend, SIGUSR1), "thread %d: SIGUSR1 is not pending", i);
	sigaltstack(NULL, &ss);
	zdtm_check(ss.ss_sp == stacks[i] && ss.ss_size == sizeof(stacks[i]) && !(ss.ss_flags & SS_DISABLE),
	           "thread %d: alternate stack %p", i, ss.ss_sp);
	zdtm_check(tls_zero == i && tls_set == 5 + i, "thread %d: TLS %ld %ld", i, tls_zero, tls_set);
	zdtm_check(pthread_equal(pthread_self(), th[i]), "thread %d: pthread_self", i);
}

static void *thread(void *arg)
{
	int i = (long)arg, last = 0;
	char name[16];
	sigset_t set;

	tids[i] = syscall(SYS_gettid);
	tls_zero = i;
	tls_set += i;
	snprintf(name, sizeof(name), "worker-%d", i);
	prctl(PR_SET_NAME, name);
	mask_of(i, &set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	zdtm_must(!sigaltstack(&(stack_t) { .ss_sp = stacks[i], .ss_size = sizeof(stacks[i]) }, NULL));
	zdtm_must(!pthread_kill(pthread_self(), SIGUSR1));
	if (i % 3 == 0)
		pthread_mutex_lock(&robust[i]);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&go, __ATOMIC_SEQ_CST) == last)
			zdtm_nap();
		last = __atomic_load_n(&go, __ATOMIC_SEQ_CST);
		look(i);
		__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
		if (last < 0)
			return (void *)(long)(i + 1000); /* with its robust mutex held */
	}
}

static void round_of(int n)
{
	ready = 0;
	__atomic_store_n(&go, n, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 1500 && __atomic_load_n(&ready, __ATOMIC_SEQ_CST) < N; i++)
		zdtm_nap();
	zdtm_check(ready == N, "%d of %d threads answer", ready, N);
}

int main(void)
{
	pthread_mutexattr_t attr;
	int n = 1;
	void *ret;

	signal(SIGUSR1, SIG_DFL);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	for (int i = 0; i < N; i++)
		pthread_mutex_init(&robust[i], &attr);
	for (long i = 0; i < N; i++)
		zdtm_must(!pthread_create(&th[i], NULL, thread, (void *)i));
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_ready();
	while (zdtm_asked()) {
		round_of(n++);
		zdtm_answer();
	}
	round_of(-1);
	for (int i = 0; i < N; i++) {
		zdtm_check(!pthread_join(th[i], &ret) && (long)ret == i + 1000, "thread %d returned %p", i, ret);
		if (i % 3 == 0)
			zdtm_check(pthread_mutex_lock(&robust[i]) == EOWNERDEAD, "mutex %d is not robust any more", i);
	}
	zdtm_pass();
}
