/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flock(2): exclusive and shared, shared by dup and fork (one unlocks for all), exclusive on what is open for reading
 * only, and one whose taker is gone.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: dump -l
 * zdtm: allow fd [78]/lock  any  who took a lock is shown: one is gone, one has closed it and another has it now
 */
#include <sys/file.h>

#include "zdtm.h"

/* Whether somebody who opens the file anew can have it: how is LOCK_EX or LOCK_SH. */
static int is_free(const char *name, int how)
{
	int fd = open(zdtm_path(name), O_RDONLY), ok;

	zdtm_must(fd >= 0);
	ok = !flock(fd, how | LOCK_NB);
	close(fd);
	return ok;
}

static int opened(const char *name, int flags)
{
	int fd = open(name, flags | O_CREAT, 0600);

	zdtm_must(fd >= 0);
	return fd;
}

int main(void)
{
	int ex = opened("ex", O_RDWR), sh = opened("sh", O_RDWR), sh2 = opened("sh", O_RDONLY),
	    ro = opened("ro", O_RDONLY);
	int left = opened("left", O_WRONLY), passed = opened("passed", O_RDWR), again, status;
	pid_t kid;

	zdtm_must(!flock(ex, LOCK_EX) && !flock(sh, LOCK_SH) && !flock(sh2, LOCK_SH) && !flock(ro, LOCK_EX));
	zdtm_must((again = dup(ex)) >= 0);
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		_exit(flock(left, LOCK_EX));
	zdtm_must(waitpid(kid, &status, 0) == kid && !status);
	zdtm_must(!flock(passed, LOCK_EX));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(sh);
		close(sh2);
		zdtm_wait();
		zdtm_check(!is_free("ex", LOCK_SH), "child: the exclusive lock is free");
		while (access(zdtm_path("unlock"), F_OK))
			zdtm_nap();
		zdtm_check(!flock(ex, LOCK_UN), "child: unlocking");
		_exit(0);
	}
	close(passed);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!is_free("ex", LOCK_SH), "the exclusive lock is free");
	zdtm_check(!is_free("sh", LOCK_EX) && is_free("sh", LOCK_SH), "the shared lock");
	zdtm_check(!is_free("ro", LOCK_SH), "the one of a file open for reading");
	zdtm_check(!is_free("left", LOCK_SH), "the one whose taker is gone");
	zdtm_check(!is_free("passed", LOCK_SH), "the one that only the child has");
	close(sh);
	zdtm_check(!is_free("sh", LOCK_EX), "the second shared lock");
	close(sh2);
	zdtm_check(is_free("sh", LOCK_EX), "a shared lock is left");
	close(ex);
	zdtm_check(!is_free("ex", LOCK_SH), "to close one duplicate unlocks");
	zdtm_touch("unlock");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(is_free("ex", LOCK_EX), "the child has not unlocked for all");
	zdtm_check(is_free("passed", LOCK_EX), "the child is gone, its lock is not");
	zdtm_check(!flock(again, LOCK_EX | LOCK_NB), "locking again");
	zdtm_pass();
}
