/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Timers whose signal is pending and that were armed again before it is taken: from Linux 6.13 on the kernel shows the
 * signal as pending, and drops it when it would be taken. Ones that were not armed again: they send one signal.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include "zdtm.h"

static int fire(int sig)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = sig };
	struct itimerspec soon = { .it_value.tv_nsec = 1 };
	sigset_t set;
	int id;

	zdtm_must(!syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &id) &&
	          !syscall(SYS_timer_settime, id, 0, &soon, NULL));
	do {
		zdtm_nap();
		sigpending(&set);
	} while (!sigismember(&set, sig));
	return id;
}

static void arm_again(int id)
{
	struct itimerspec far = { .it_value.tv_sec = 1000 };

	zdtm_must(!syscall(SYS_timer_settime, id, 0, &far, NULL));
}

static int take(int sig)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, sig);
	return sigtimedwait(&set, NULL, &(struct timespec) { 0 }) == sig;
}

int main(void)
{
	int here = SIGRTMIN + 1, later = SIGRTMIN + 2, once = SIGRTMIN + 3, ids[3], taken;
	struct itimerspec t;
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	ids[0] = fire(here);
	ids[1] = fire(later);
	ids[2] = fire(once);
	arm_again(ids[0]);
	arm_again(ids[1]);
	taken = take(here);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(take(later) == taken, "a signal of a timer that was armed again: %d before, %d now", taken, !taken);
	zdtm_check(take(once), "the signal of the other is lost");
	zdtm_check(!take(later) && !take(once), "a signal came twice");
	for (int i = 0; i < 3; i++)
		zdtm_check(!syscall(SYS_timer_gettime, ids[i], &t) && (i < 2) == (t.it_value.tv_sec > 900),
		           "timer %d: %ld s left", i, t.it_value.tv_sec);
	zdtm_pass();
}
