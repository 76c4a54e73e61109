/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pending signals of a thread and of the process, with all that came with them: kill, tgkill, sigqueue, a timer, a
 * child's end; in their order.
 *
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include <pthread.h>

#include "zdtm.h"
#include "zdtm_until.h"

static int up;

static void one(const sigset_t *set, int sig, int code, int value)
{
	siginfo_t si;
	/* Not by the libc, which makes SI_USER of SI_TKILL. */
	int r = syscall(SYS_rt_sigtimedwait, set, &si, &(struct timespec) { 0 }, 8);

	zdtm_check(r == sig, "signal %d, not %d, is pending", r, sig);
	zdtm_check(r != sig || si.si_code == code, "signal %d: code %d, not %d", sig, si.si_code, code);
	if (r == sig && code != SI_TIMER && sig != SIGCHLD)
		zdtm_check(si.si_pid == getpid() && si.si_uid == getuid(), "signal %d: pid %d", sig, si.si_pid);
	if (r == sig && value)
		zdtm_check(si.si_value.sival_int == value, "signal %d: value %d", sig, si.si_value.sival_int);
}

static void *thread(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 4);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR2);
	pthread_sigqueue(pthread_self(), SIGRTMIN + 4, (union sigval) { .sival_int = 81 });
	pthread_sigqueue(pthread_self(), SIGRTMIN + 4, (union sigval) { .sival_int = 82 });
	__atomic_store_n(&up, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	one(&set, SIGUSR2, SI_TKILL, 0);
	one(&set, SIGRTMIN + 4, SI_QUEUE, 81);
	one(&set, SIGRTMIN + 4, SI_QUEUE, 82);
	return NULL;
}

int main(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 7, .sigev_value.sival_int = 17 };
	struct itimerspec its = { .it_value = { 0, 1000000 } };
	sigset_t set;
	pthread_t t;
	timer_t timer;
	siginfo_t si;
	pid_t kid;

	sigfillset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	zdtm_must(!pthread_create(&t, NULL, thread, NULL));
	zdtm_must(!kill(getpid(), SIGUSR1) && !sigqueue(getpid(), SIGRTMIN + 1, (union sigval) { .sival_int = 5 }));
	for (int i = 0; i < 20; i++)
		zdtm_must(!sigqueue(getpid(), SIGRTMIN + 9, (union sigval) { .sival_int = 100 + i }));
	zdtm_must(!timer_create(CLOCK_MONOTONIC, &ev, &timer) && !timer_settime(timer, 0, &its, NULL));
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		_exit(4);
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_until(kid, ") Z ");
	zdtm_ready();
	zdtm_wait();
	pthread_join(t, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	one(&set, SIGUSR1, SI_USER, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	zdtm_check(sigtimedwait(&set, &si, &(struct timespec) { 0 }) == SIGCHLD && si.si_pid == kid &&
	               si.si_status == 4 && si.si_code == CLD_EXITED,
	           "SIGCHLD: pid %d status %d code %d", si.si_pid, si.si_status, si.si_code);
	sigfillset(&set);
	one(&set, SIGRTMIN + 1, SI_QUEUE, 5);
	one(&set, SIGRTMIN + 7, SI_TIMER, 17);
	for (int i = 0; i < 20; i++)
		one(&set, SIGRTMIN + 9, SI_QUEUE, 100 + i);
	zdtm_check(sigtimedwait(&set, &si, &(struct timespec) { 0 }) == -1, "there is one more");
	zdtm_pass();
}
