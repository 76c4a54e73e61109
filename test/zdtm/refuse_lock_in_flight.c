/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A locked file that is in flight, and open nowhere else, is refused by name.
 *
 * zdtm: dump -l
 * zdtm: refuse alone: a file lock is held on a file that is in flight
 */
#include <sys/file.h>
#include <sys/socket.h>

#include "zdtm.h"

static int opened(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0600);

	zdtm_must(fd >= 0 && !flock(fd, LOCK_EX));
	return fd;
}

static void post(int sk, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
	struct iovec iov = { &byte, 1 };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	zdtm_must(sendmsg(sk, &mh, 0) == 1);
}

int main(void)
{
	int sv[2], alone = opened("alone"), again;

	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sv));
	post(sv[0], alone);
	close(alone);
	zdtm_ready();
	zdtm_wait();
	again = open("alone", O_RDWR);
	zdtm_check(flock(again, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK, "the lock of what is in flight");
	zdtm_pass();
}
