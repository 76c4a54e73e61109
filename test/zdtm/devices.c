/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/null and its kin: reading and writing go on, and they share a description where they did. Devices that only
 * take orders, under another name too, where they can be opened.
 *
 * zdtm: restores 2
 */
#include <sys/sysmacros.h>

#include "zdtm.h"

int main(void)
{
	static const char *const names[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom" };
	int fd[5], two, control, other = -1;
	char buf[16];
	struct stat a, b;

	for (int i = 0; i < 5; i++)
		zdtm_must((fd[i] = open(names[i], i == 3 ? O_RDONLY | O_NONBLOCK : O_RDWR)) >= 0);
	zdtm_must((two = dup(fd[1])) >= 0);
	control = open("/dev/loop-control", O_RDWR);
	if (!mknod("another", S_IFCHR | 0600, makedev(10, 237)))
		other = open("another", O_RDWR);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(control < 0 || (!fstat(control, &a) && a.st_rdev == makedev(10, 237)), "loop-control");
	zdtm_check(other < 0 || (!fstat(other, &a) && a.st_rdev == makedev(10, 237)), "loop-control by another name");
	for (int i = 0; i < 5; i++)
		zdtm_check(!fstat(fd[i], &a) && !stat(names[i], &b) && a.st_rdev == b.st_rdev, "%s is another one",
		           names[i]);
	zdtm_check(write(fd[0], "x", 1) == 1 && read(fd[0], buf, 1) == 0, "null");
	memset(buf, 1, 16);
	zdtm_check(read(two, buf, 16) == 16 && !buf[0] && !buf[15], "zero");
	zdtm_check(write(fd[2], "x", 1) == -1 && errno == ENOSPC, "full");
	zdtm_check(read(fd[4], buf, 16) == 16, "urandom");
	zdtm_check(fcntl(fd[3], F_GETFL) & O_NONBLOCK, "flags of random");
	zdtm_pass();
}
