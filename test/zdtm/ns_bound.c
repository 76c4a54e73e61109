/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A namespace that is bound to a path, as ip-netns(8) does it: it comes back by that path, and nobody has to live in
 * it.
 *
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: no-userns mounts
 */
#include <sched.h>
#include <sys/mount.h>

#include "zdtm.h"

int main(void)
{
	int own = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), fd;
	struct stat a, b;
	char name[65];

	zdtm_touch("bound");
	zdtm_must(own >= 0 && !unshare(CLONE_NEWUTS) && !sethostname("a-bound-one", 11));
	zdtm_must(!mount("/proc/self/ns/uts", "bound", NULL, MS_BIND, NULL));
	zdtm_must((fd = open(zdtm_path("bound"), O_RDONLY)) >= 0 && !setns(own, CLONE_NEWUTS));
	zdtm_must(!fstat(fd, &a) && !close(own));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!fstat(fd, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev, "another namespace");
	zdtm_check(!setns(fd, CLONE_NEWUTS) && !gethostname(name, sizeof(name)) && !strcmp(name, "a-bound-one"),
	           "its host name is %s", name);
	close(fd);
	zdtm_check(!umount2("bound", MNT_DETACH) && !unlink("bound"), "unmounting: %s", strerror(errno));
	zdtm_pass();
}
