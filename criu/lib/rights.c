/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>

#include "lib/rights.h"

union control {
	char bytes[CMSG_SPACE(RIGHTS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int rights_send(int sock, const void *data, size_t len, const int *fds, size_t n)
{
	union control control;
	struct iovec iov = { .iov_base = (void *)data, .iov_len = len };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = &control.align;
	ssize_t sent;

	if (n > RIGHTS_MAX)
		return -E2BIG;
	if (n) {
		memset(&control, 0, sizeof(control));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	do {
		sent = sendmsg(sock, &mh, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return sent == (ssize_t)len ? 0 : sent < 0 ? -errno : -EIO;
}

/* Those that came, into fds as far as there is room; the others are closed. Returns how many came. */
static size_t take_descriptors(struct msghdr *mh, int *fds, size_t room)
{
	size_t came = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++, came++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (came < room)
				fds[came] = fd;
			else
				close(fd);
		}
	}
	return came;
}

ssize_t rights_receive(int sock, void *data, size_t len, int *fds, size_t *n)
{
	union control control;
	struct iovec iov = { .iov_base = data, .iov_len = len };
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	size_t room = *n, came;
	ssize_t got;

	*n = 0;
	do {
		got = recvmsg(sock, &mh, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	came = take_descriptors(&mh, fds, room);
	if (came <= room && !(mh.msg_flags & MSG_CTRUNC)) {
		*n = came;
		return got;
	}
	for (size_t i = 0; i < MIN(came, room); i++)
		close(fds[i]);
	return -EMFILE;
}
