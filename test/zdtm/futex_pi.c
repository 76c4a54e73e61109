/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Futexes with priority inheritance and robust ones, held with threads and another process waiting for them, in each
 * way: FUTEX_LOCK_PI without and with a time, FUTEX_WAIT_REQUEUE_PI, a robust PI mutex of two processes whose holder
 * ends, a robust mutex whose holder's thread ends.
 *
 * zdtm: iters 3
 * zdtm: flavour ns
 */
#include <linux/futex.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

static struct shared {
	pthread_mutex_t pi, robust_pi, robust;
	uint32_t condition, requeued; /* of FUTEX_WAIT_REQUEUE_PI */
	unsigned up, got, requeue_got;
	int in; /* how many have the lock */
} * s;

static void make(pthread_mutex_t *m, bool pi, bool robust)
{
	pthread_mutexattr_t a;

	zdtm_must(!pthread_mutexattr_init(&a) && !pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED));
	zdtm_must(!pi || !pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT));
	zdtm_must(!robust || !pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST));
	zdtm_must(!pthread_mutex_init(m, &a));
}

static void one_has(pthread_mutex_t *m, const char *who, int err)
{
	zdtm_check(!err, "%s: %s", who, strerror(err));
	zdtm_check(__atomic_add_fetch(&s->in, 1, __ATOMIC_SEQ_CST) == 1, "%s: another one has the lock too", who);
	__atomic_sub_fetch(&s->in, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&s->got, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(m);
}

static void *waiter(void *arg)
{
	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	one_has(&s->pi, "waiter", pthread_mutex_lock(&s->pi));
	return arg;
}

static void *timed_waiter(void *arg)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 300;
	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	one_has(&s->pi, "timed waiter", pthread_mutex_timedlock(&s->pi, &until));
	return arg;
}

/* Waits for the condition, and is to have the futex then. A wait that was broken off is begun again. */
static void *requeue_waiter(void *arg)
{
	long ret;

	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	do
		ret = syscall(SYS_futex, &s->condition, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &s->requeued, 0);
	while (ret == -1 && (errno == EAGAIN || errno == EINTR) && !__atomic_load_n(&s->condition, __ATOMIC_SEQ_CST));
	zdtm_check(!ret && (s->requeued & FUTEX_TID_MASK) == (uint32_t)syscall(SYS_gettid),
	           "FUTEX_WAIT_REQUEUE_PI: %ld, %s; the futex is %x", ret, strerror(errno), s->requeued);
	zdtm_check(!syscall(SYS_futex, &s->requeued, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), "FUTEX_UNLOCK_PI: %s",
	           strerror(errno));
	__atomic_store_n(&s->requeue_got, 1, __ATOMIC_SEQ_CST);
	return arg;
}

static void *robust_holder(void *arg)
{
	zdtm_must(!pthread_mutex_lock(&s->robust));
	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	return arg; /* and the mutex is left locked */
}

static void *robust_waiter(void *arg)
{
	int err;

	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	err = pthread_mutex_lock(&s->robust);
	zdtm_check(err == EOWNERDEAD, "the robust mutex: %s", strerror(err));
	return arg;
}

/* Holds the robust PI mutex and ends; has a thread that waits for the parent's. */
static void child(void)
{
	pthread_t t;

	zdtm_must(!pthread_mutex_lock(&s->robust_pi) && !pthread_create(&t, NULL, waiter, NULL));
	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	pthread_join(t, NULL);
	_exit(0);
}

static void *robust_pi_waiter(void *arg)
{
	int err;

	__atomic_add_fetch(&s->up, 1, __ATOMIC_SEQ_CST);
	err = pthread_mutex_lock(&s->robust_pi);
	zdtm_check(err == EOWNERDEAD && !pthread_mutex_consistent(&s->robust_pi) &&
	               !pthread_mutex_unlock(&s->robust_pi),
	           "the robust PI mutex: %s", strerror(err));
	return arg;
}

/* The condition comes true: one waiter is given the futex, once it is there to be given. */
static void requeue(void)
{
	long ret = 0;

	zdtm_check(!__atomic_load_n(&s->requeue_got, __ATOMIC_SEQ_CST), "the condition came by itself");
	for (int i = 0; i < 1000 && ret <= 0; i++) {
		ret = syscall(SYS_futex, &s->condition, FUTEX_CMP_REQUEUE_PI, 1, 0, &s->requeued, s->condition);
		zdtm_nap();
	}
	zdtm_check(ret == 1, "FUTEX_CMP_REQUEUE_PI: %ld %s", ret, strerror(errno));
}

int main(void)
{
	void *(*const others[])(void *) = { waiter,        waiter,        timed_waiter,    requeue_waiter,
		                            robust_holder, robust_waiter, robust_pi_waiter };
	pthread_t t[7];
	int status;
	pid_t kid;

	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(s != MAP_FAILED);
	make(&s->pi, true, false);
	make(&s->robust_pi, true, true);
	make(&s->robust, false, true);
	zdtm_must(!pthread_mutex_lock(&s->pi) && (kid = fork()) >= 0);
	if (!kid)
		child();
	for (unsigned i = 0, want = 2; i < 7; i++, want++) {
		while (__atomic_load_n(&s->up, __ATOMIC_SEQ_CST) < want)
			zdtm_nap();
		zdtm_must(!pthread_create(&t[i], NULL, others[i], NULL));
	}
	while (__atomic_load_n(&s->up, __ATOMIC_SEQ_CST) < 9)
		zdtm_nap();
	zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!__atomic_load_n(&s->got, __ATOMIC_SEQ_CST), "a lock that is held was given away");
	zdtm_check(!pthread_mutex_unlock(&s->pi), "unlocking the PI mutex");
	requeue();
	for (int i = 0; i < 7; i++)
		pthread_join(t[i], NULL);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(s->got == 4 && s->requeue_got, "%u of 4 waiters have got the lock", s->got);
	zdtm_pass();
}
