/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * signalfd: the mask, also of signals that the C library keeps to itself; signals that were pending are read from it
 * with their values, in order; a signal that is not in the mask is not; it works for signals that come afterwards.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include <poll.h>
#include <sys/signalfd.h>

#include "zdtm.h"

#define KEPT_BY_LIBC 33

static int readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && p.revents == POLLIN;
}

static uint64_t mask_of(int fd)
{
	char path[64], line[200];
	uint64_t mask = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	zdtm_must(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, "sigmask:", 8))
			mask = strtoull(line + 8, NULL, 16);
	fclose(f);
	return mask;
}

static void queue(int sig, int value)
{
	zdtm_must(!sigqueue(getpid(), sig, (union sigval) { .sival_int = value }));
}

static void check_next(int fd, int sig, int value)
{
	struct signalfd_siginfo si = { 0 };

	if (zdtm_check(read(fd, &si, sizeof(si)) == sizeof(si), "reading signal %d: %s", sig, strerror(errno)))
		zdtm_check((int)si.ssi_signo == sig && si.ssi_int == value && si.ssi_code == SI_QUEUE &&
		               (pid_t)si.ssi_pid == getpid(),
		           "signal %d with %d (code %d, from %u) instead of %d with %d", si.ssi_signo, si.ssi_int,
		           si.ssi_code, si.ssi_pid, sig, value);
}

int main(void)
{
	struct signalfd_siginfo si;
	uint64_t all = ~0ULL, odd = 1ULL << (KEPT_BY_LIBC - 1), want = odd | 1ULL << (SIGTERM - 1);
	int fd, raw, full;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMIN);
	zdtm_must((fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)) >= 0);
	zdtm_must((raw = syscall(SYS_signalfd4, -1, &want, 8, 0)) >= 0);
	zdtm_must((full = syscall(SYS_signalfd4, -1, &all, 8, 0)) >= 0);
	sigaddset(&set, SIGUSR2);
	zdtm_must(!sigprocmask(SIG_BLOCK, &set, NULL));
	queue(SIGRTMIN, 11);
	queue(SIGRTMIN, 12);
	queue(SIGUSR1, 13);
	queue(SIGUSR2, 14);
	all = mask_of(full);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(mask_of(raw) == want, "the mask is %lx instead of %lx", mask_of(raw), want);
	zdtm_check(mask_of(full) == all, "the full mask is %lx instead of %lx", mask_of(full), all);
	zdtm_check(fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) == FD_CLOEXEC, "flags");
	zdtm_check(!(fcntl(raw, F_GETFL) & O_NONBLOCK) && !fcntl(raw, F_GETFD), "flags of the other");
	zdtm_check(readable(fd), "pending signals do not make it readable");
	check_next(fd, SIGUSR1, 13);
	check_next(fd, SIGRTMIN, 11);
	check_next(fd, SIGRTMIN, 12);
	zdtm_check(read(fd, &si, sizeof(si)) < 0 && errno == EAGAIN, "more than was pending, or it blocks");
	zdtm_check(!readable(fd) && !readable(raw), "readable without a signal");
	zdtm_check(readable(full), "SIGUSR2 is not pending any more");
	check_next(full, SIGUSR2, 14);
	queue(SIGRTMIN, 15);
	zdtm_check(readable(fd), "a new signal");
	check_next(fd, SIGRTMIN, 15);
	zdtm_pass();
}
