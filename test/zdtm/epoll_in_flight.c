/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * In the queue of a socket: a pipe that an epoll instance watches and nobody has any more, and another instance, which
 * watches an eventfd by a number that is somebody else's now.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "zdtm.h"

union control {
	struct cmsghdr h;
	char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int sock, int fd)
{
	char c = 'x';
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	union control u = { .h = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };

	u.h.cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(&u.h), &fd, sizeof(int));
	zdtm_must(sendmsg(sock, &m, 0) == 1);
	close(fd);
}

static int receive_fd(int sock)
{
	char c;
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	union control u;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &u, .msg_controllen = sizeof(u) };
	int fd = -1;

	if (recvmsg(sock, &m, 0) == 1 && m.msg_controllen >= sizeof(u))
		memcpy(&fd, CMSG_DATA(&u.h), sizeof(int));
	zdtm_check(fd >= 0, "no descriptor in the queue: %s", strerror(errno));
	return fd;
}

static void add(int ep, int fd, uint64_t data)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = data };

	zdtm_must(!epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e));
}

static void expect(int ep, int n, uint64_t data, const char *what)
{
	struct epoll_event e[2] = { 0 };
	int got = epoll_wait(ep, e, 2, 0);

	zdtm_check(got == n && e[0].data.u64 == data, "%s: %d events, %lx", what, got, e[0].data.u64);
}

int main(void)
{
	int sv[2], ends[2], here, away, event, fd;

	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) && !pipe(ends));
	zdtm_must((here = epoll_create1(0)) >= 0 && (away = epoll_create1(0)) >= 0 && (event = eventfd(0, 0)) >= 0);
	add(here, ends[0], 1);
	zdtm_must(dup2(event, 50) == 50);
	add(away, 50, 2);
	zdtm_must(dup2(sv[0], 50) == 50);
	send_fd(sv[0], ends[0]);
	send_fd(sv[0], away);
	zdtm_ready();
	zdtm_wait();
	expect(here, 0, 0, "at first");
	zdtm_check(write(ends[1], "x", 1) == 1, "the pipe has no reader: %s", strerror(errno));
	expect(here, 1, 1, "the pipe in the queue");
	fd = receive_fd(sv[1]);
	zdtm_check(!close(fd), "close");
	expect(here, 0, 0, "the pipe is gone");
	fd = receive_fd(sv[1]);
	expect(fd, 0, 0, "the instance that was in the queue");
	zdtm_check(eventfd_write(event, 1) == 0, "the eventfd");
	expect(fd, 1, 2, "the instance that was in the queue");
	zdtm_pass();
}
