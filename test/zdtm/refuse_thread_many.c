/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Of many threads two are in namespaces of their own, each refused by its name.
 *
 * zdtm: needs-root
 * zdtm: refuse thread [0-9]+: is in another uts namespace than its process
 * zdtm: refuse thread [0-9]+: is in another cgroup namespace than its process
 * zdtm: refuse : 2 reasons against this dump
 */
#include <pthread.h>
#include <sched.h>

#include "zdtm.h"

#define N 300

static int up, done;

static void *thread(void *arg)
{
	int flag = *(const int *)arg;

	zdtm_must(!flag || !unshare(flag));
	__atomic_add_fetch(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void)
{
	static int flags[N] = { [100] = CLONE_NEWUTS, [N - 1] = CLONE_NEWCGROUP };
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * 1024);
	for (size_t i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t, &attr, thread, &flags[i]));
	while (__atomic_load_n(&up, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < N)
		zdtm_nap();
	zdtm_pass();
}
