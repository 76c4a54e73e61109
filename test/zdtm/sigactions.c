/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Signal actions with flags and masks, the process's mask, signals that are pending for it with what came with them.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include "zdtm.h"

static volatile int hits, value, code;

static void handler(int sig)
{
	hits++;
}

static void info(int sig, siginfo_t *si, void *ctx)
{
	value = si->si_value.sival_int;
	code = si->si_code;
	hits += 100;
}

static void set(int sig, int flags, void (*fn)(int), int masked)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	sigemptyset(&sa.sa_mask);
	if (masked)
		sigaddset(&sa.sa_mask, masked);
	zdtm_must(!sigaction(sig, &sa, NULL));
}

static void want(int sig, int flags, void *fn, int masked)
{
	struct sigaction sa;

	zdtm_check(!sigaction(sig, NULL, &sa) && (void *)sa.sa_handler == fn, "signal %d: handler %p", sig,
	           sa.sa_handler);
	zdtm_check((sa.sa_flags & ~0x04000000) == flags, "signal %d: flags %x", sig, sa.sa_flags);
	for (int s = 1; s < 64; s++)
		zdtm_check(sigismember(&sa.sa_mask, s) == (s == masked), "signal %d: mask of %d", sig, s);
}

int main(void)
{
	sigset_t block, now;

	set(SIGHUP, 0, SIG_IGN, 0);
	set(SIGUSR1, SA_RESTART | SA_NODEFER, handler, SIGUSR2);
	set(SIGUSR2, SA_RESETHAND, handler, SIGRTMAX - 1);
	set(SIGRTMIN + 5, SA_SIGINFO | SA_ONSTACK, (void *)info, 0);
	set(SIGRTMIN + 6, SA_SIGINFO, (void *)info, 0);
	set(SIGCHLD, SA_NOCLDSTOP | SA_NOCLDWAIT, SIG_DFL, 0);
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN + 6);
	sigaddset(&block, SIGWINCH);
	sigprocmask(SIG_BLOCK, &block, NULL);
	for (int i = 0; i < 3; i++)
		zdtm_must(!sigqueue(getpid(), SIGRTMIN + 6, (union sigval) { .sival_int = 41 + i }));
	zdtm_ready();
	zdtm_wait();
	want(SIGHUP, 0, SIG_IGN, 0);
	want(SIGUSR1, SA_RESTART | SA_NODEFER, handler, SIGUSR2);
	want(SIGUSR2, SA_RESETHAND, handler, SIGRTMAX - 1);
	want(SIGRTMIN + 5, SA_SIGINFO | SA_ONSTACK, info, 0);
	want(SIGCHLD, SA_NOCLDSTOP | SA_NOCLDWAIT, SIG_DFL, 0);
	want(SIGTERM, 0, SIG_DFL, 0);
	sigprocmask(SIG_SETMASK, NULL, &now);
	for (int s = 1; s < 64; s++)
		zdtm_check(sigismember(&now, s) == sigismember(&block, s), "mask of %d", s);
	zdtm_check(hits == 0, "%d signals came too early", hits);
	for (int i = 0; i < 3; i++) {
		siginfo_t si;

		zdtm_check(sigtimedwait(&block, &si, &(struct timespec) { 0 }) == SIGRTMIN + 6,
		           "pending signal %d is lost", i);
		zdtm_check(si.si_value.sival_int == 41 + i && si.si_code == SI_QUEUE && si.si_pid == getpid(),
		           "pending signal %d: value %d code %d pid %d", i, si.si_value.sival_int, si.si_code,
		           si.si_pid);
	}
	zdtm_check(sigtimedwait(&block, NULL, &(struct timespec) { 0 }) == -1, "one signal too many is pending");
	raise(SIGUSR1);
	zdtm_check(hits == 1, "SIGUSR1: %d", hits);
	sigqueue(getpid(), SIGRTMIN + 5, (union sigval) { .sival_int = 9 });
	zdtm_check(hits == 101 && value == 9 && code == SI_QUEUE, "SIGRTMIN+5: %d %d %d", hits, value, code);
	zdtm_pass();
}
