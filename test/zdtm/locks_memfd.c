/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Locks and a read lease on memfds, whose inode is another one after a restore: the lease still signals, an open file
 * description lock and a POSIX lock are still in others' way.
 *
 * zdtm: flavour ns
 * zdtm: dump -l
 * zdtm: iters 2
 * zdtm: allow fd [0-9]*lock  any  a memfd has another inode number, which the line names
 */
#include <sys/mman.h>

#include "zdtm.h"

static volatile sig_atomic_t told;

static void on_break(int sig)
{
	told++;
}

static int again(int fd, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags);
}

/* Whether another process may lock it for writing. */
static int is_free(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_len = 1 };
	int status;
	pid_t kid = fork();

	zdtm_must(kid >= 0);
	if (!kid)
		_exit(fcntl(fd, F_GETLK, &l) || l.l_type != F_UNLCK);
	zdtm_must(waitpid(kid, &status, 0) == kid);
	return !status;
}

int main(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_len = 1 };
	int writer = memfd_create("leased", 0), leased = again(writer, O_RDONLY), ofd = memfd_create("ofd", 0),
	    posix = memfd_create("posix", 0), fd;

	close(writer);
	zdtm_must(leased >= 0 && !fcntl(leased, F_SETLEASE, F_RDLCK));
	signal(SIGIO, on_break);
	zdtm_must(!fcntl(ofd, F_OFD_SETLK, &l) && !fcntl(posix, F_SETLK, &l));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!told && fcntl(leased, F_GETLEASE) == F_RDLCK, "the lease is %d", fcntl(leased, F_GETLEASE));
	fd = again(leased, O_WRONLY | O_NONBLOCK);
	zdtm_check(fd == -1 && errno == EWOULDBLOCK && told == 1, "breaking the lease: %s, %d signals", strerror(errno),
	           told);
	zdtm_check(!fcntl(leased, F_SETLEASE, F_UNLCK), "giving way: %s", strerror(errno));
	fd = again(leased, O_WRONLY | O_NONBLOCK);
	zdtm_check(fd >= 0, "opening after that: %s", strerror(errno));
	zdtm_check(!is_free(ofd) && !is_free(posix), "the locks are gone");
	close(posix);
	close(ofd);
	zdtm_pass();
}
