/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A cgroup namespace that nobody is in any more but for a descriptor.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 9: cgroup:\[[0-9]+\]: a namespace that no task of the tree lives in
 * zdtm: no-userns enters namespaces of root
 */
#include <sched.h>

#include "zdtm.h"

int main(void)
{
	int own = open("/proc/self/ns/cgroup", O_RDONLY | O_CLOEXEC), fd;
	struct stat a, b;

	zdtm_must(own >= 0 && !unshare(CLONE_NEWCGROUP));
	zdtm_must((fd = open("/proc/self/ns/cgroup", O_RDONLY)) >= 0 && dup2(fd, 9) == 9 &&
	          !setns(own, CLONE_NEWCGROUP));
	close(fd);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!fstat(9, &a) && !fstat(own, &b) && a.st_ino != b.st_ino, "the namespace");
	zdtm_pass();
}
