/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leases: read and write, with a signal of one's own that names the descriptor; broken after the restore, the holder is
 * told and gives way.
 *
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: dump -l
 * zdtm: flavour pidns
 */
#include "zdtm.h"

static volatile sig_atomic_t told, told_fd;

static void on_break(int sig, siginfo_t *info, void *context)
{
	told = sig;
	told_fd = info->si_fd;
}

/* A child opens the file, which breaks the lease; it goes on when the lease is given up (or a minute has passed). */
static pid_t breaker(const char *name, int flags)
{
	pid_t kid = fork();

	zdtm_must(kid >= 0);
	if (!kid)
		_exit(open(zdtm_path(name), flags) < 0);
	return kid;
}

static void give_way(int fd, int to, pid_t kid, int sig)
{
	int status;

	for (int i = 0; i < 3000 && !told; i++)
		zdtm_nap();
	zdtm_check(told == sig && told_fd == fd, "told by signal %d of fd %d, not %d of %d", (int)told, (int)told_fd,
	           sig, fd);
	zdtm_check(waitpid(kid, &status, WNOHANG) == 0, "the file was opened before the lease was given up");
	zdtm_check(!fcntl(fd, F_SETLEASE, to), "giving way: %s", strerror(errno));
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "the one who opens: %x", status);
	told = 0;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_break, .sa_flags = SA_SIGINFO };
	int r, w, plain;

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGRTMIN + 3, &sa, NULL);
	zdtm_must((w = open("w", O_RDONLY | O_CREAT, 0600)) >= 0);
	zdtm_must((r = open("r", O_RDWR | O_CREAT, 0600)) >= 0 && !close(r) && (r = open("r", O_RDONLY)) >= 0);
	zdtm_must((plain = open("p", O_WRONLY | O_CREAT, 0600)) >= 0);
	zdtm_must(!fcntl(w, F_SETSIG, SIGRTMIN + 3) && !fcntl(r, F_SETSIG, SIGUSR1));
	zdtm_must(!fcntl(w, F_SETLEASE, F_WRLCK) && !fcntl(r, F_SETLEASE, F_RDLCK));
	zdtm_must(!fcntl(plain, F_SETLEASE, F_WRLCK) && dup2(plain, 50) == 50);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!told, "a signal came by itself: fd %d", (int)told_fd);
	zdtm_check(fcntl(w, F_GETLEASE) == F_WRLCK, "the write lease is %d", fcntl(w, F_GETLEASE));
	zdtm_check(fcntl(r, F_GETLEASE) == F_RDLCK, "the read lease is %d", fcntl(r, F_GETLEASE));
	zdtm_check(fcntl(plain, F_GETLEASE) == F_WRLCK, "the plain lease is %d", fcntl(plain, F_GETLEASE));
	zdtm_check(fcntl(50, F_GETLEASE) == F_WRLCK, "of the duplicate: %d", fcntl(50, F_GETLEASE));
	give_way(w, F_RDLCK, breaker("w", O_RDONLY), SIGRTMIN + 3);
	zdtm_check(fcntl(w, F_GETLEASE) == F_RDLCK, "the lease given down is %d", fcntl(w, F_GETLEASE));
	give_way(r, F_UNLCK, breaker("r", O_RDWR), SIGUSR1);
	zdtm_pass();
}
