/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * OFD locks belong to the open file: shared with a child and a duplicate, in the way of the same process's other
 * descriptors of the file; ranges, beside POSIX locks and a flock in the same file. One on a pidfd.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: dump -l
 * zdtm: allow fd 6/lock  any  a pidfd has the inode of its process
 */
#include <sys/file.h>

#include "zdtm.h"

static int ofd(int fd, int type, off_t start, off_t len)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, F_OFD_SETLK, &l);
}

/* What a descriptor would meet: F_UNLCK, or the type of what is in the way. */
static int met(int fd, int type, off_t start, off_t len, off_t *at)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = len };

	if (fcntl(fd, F_OFD_GETLK, &l))
		return -errno;
	*at = l.l_start;
	return l.l_type;
}

int main(void)
{
	int a, b, dupe, status, pidfd;
	pid_t kid;
	off_t at = 0;

	zdtm_must((a = open("file", O_RDWR | O_CREAT, 0600)) >= 0 && (b = open("file", O_RDWR)) >= 0);
	zdtm_must((dupe = dup(a)) >= 0 && !flock(b, LOCK_EX));
	zdtm_must(!ofd(a, F_WRLCK, 100, 10) && !ofd(a, F_RDLCK, 1LL << 62, 0) && !ofd(b, F_RDLCK, 0, 50));
	struct flock posix = { .l_type = F_WRLCK, .l_start = 200, .l_len = 1 };
	zdtm_must(!fcntl(a, F_SETLK, &posix));
	zdtm_must((pidfd = syscall(SYS_pidfd_open, getpid(), 0)) >= 0 && !ofd(pidfd, F_WRLCK, 54, 1));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		zdtm_check(!ofd(a, F_WRLCK, 105, 1), "child: its own open file is locked against it");
		zdtm_check(ofd(b, F_WRLCK, 105, 1) == -1 && errno == EAGAIN, "child: through the other one");
		zdtm_check(met(b, F_WRLCK, 200, 1, &at) == F_WRLCK && at == 200, "child: the POSIX lock");
		_exit(0);
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(met(b, F_RDLCK, 0, 200, &at) == F_WRLCK && at == 100, "the write lock (%ld)", (long)at);
	zdtm_check(met(b, F_RDLCK, 110, 20, &at) == F_UNLCK, "behind the write lock");
	zdtm_check(met(b, F_WRLCK, INT64_MAX, 1, &at) == F_RDLCK && at == 1LL << 62, "to the end (%ld)", (long)at);
	zdtm_check(met(a, F_WRLCK, 0, 200, &at) == F_RDLCK && at == 0, "the other's read lock (%ld)", (long)at);
	zdtm_check(met(a, F_WRLCK, 50, 50, &at) == F_UNLCK, "behind the other's");
	zdtm_check(ofd(syscall(SYS_pidfd_open, getpid(), 0), F_WRLCK, 54, 1) == -1 && errno == EAGAIN,
	           "the lock on the pidfd");
	close(a);
	zdtm_check(met(b, F_RDLCK, 100, 1, &at) == F_WRLCK, "to close one duplicate unlocks");
	close(dupe);
	zdtm_check(met(b, F_RDLCK, 100, 1, &at) == F_UNLCK, "to close both does not unlock");
	zdtm_pass();
}
