/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 10,000 threads.
 *
 * zdtm: slow
 * zdtm: exclusive
 * zdtm: timeout 240
 */
#include <pthread.h>

#include "zdtm.h"

#define N 10000

static int ready, done, tids[N];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int go;

static void *thread(void *arg)
{
	long i = (long)arg;

	tids[i] = syscall(SYS_gettid);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&lock);
	while (!go)
		pthread_cond_wait(&cond, &lock);
	pthread_mutex_unlock(&lock);
	zdtm_check(tids[i] == syscall(SYS_gettid), "thread %ld has another tid", i);
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void)
{
	static pthread_t t[N];
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 16384);
	for (long i = 0; i < N; i++) {
		int r = pthread_create(&t[i], &attr, thread, (void *)i);

		if (r)
			zdtm_skip("only %ld threads are possible here (%s)", i, strerror(r));
	}
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	pthread_mutex_lock(&lock);
	go = 1;
	pthread_cond_broadcast(&cond);
	pthread_mutex_unlock(&lock);
	for (int i = 0; i < N; i++)
		pthread_join(t[i], NULL);
	zdtm_check(done == N, "%d of %d threads", done, N);
	zdtm_pass();
}
