/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets that a dump refuses, each with the reason: a stream whose peer is outside of the tree, a datagram socket
 * connected to outside without --ext-unix-sk, a client outside that waits to be accepted, one of ours that waits at a
 * listener outside, and two that have sent a descriptor before they were accepted, one of which is gone then. The
 * somebody outside is a grandchild whose parent is gone.
 *
 * zdtm: refuse fd 100: .*stream.*pid \d+ .*outside.*--external
 * zdtm: refuse fd 101: .*datagram.*outgram.*pid \d+ .*--ext-unix-sk
 * zdtm: refuse fd 102: .*waits to be accepted.*pid \d+ .*outside
 * zdtm: refuse fd 103: .*waits to be accepted at .*outlisten.*outside
 * zdtm: refuse fd 104: .*inside2.sock.*waits to be accepted.*descriptors
 * zdtm: refuse fd 105: .*inside3.sock.*waits to be accepted.*descriptors
 * zdtm: flavour no pidns
 */
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static struct sockaddr_un addr[3] = {
	{ AF_UNIX, "outgram.sock" },
	{ AF_UNIX, "outlisten.sock" },
	{ AF_UNIX, "inside.sock" },
};

static void at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number);
	close(fd);
}

static int to(int type, int i)
{
	int fd = socket(AF_UNIX, type, 0);

	zdtm_must(!connect(fd, (struct sockaddr *)&addr[i], sizeof(addr[i])));
	return fd;
}

static void outside(int end, pid_t tree)
{
	int gram = socket(AF_UNIX, SOCK_DGRAM, 0), l = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	char c;

	zdtm_must(!bind(gram, (struct sockaddr *)&addr[0], sizeof(addr[0])));
	zdtm_must(!bind(l, (struct sockaddr *)&addr[1], sizeof(addr[1])) && !listen(l, 5));
	fd = to(SOCK_STREAM, 2);
	zdtm_touch("outside");
	/* Ends with the tree, which does not write. */
	while (!kill(tree, 0) && recv(end, &c, 1, MSG_DONTWAIT) == -1 && errno == EAGAIN)
		zdtm_nap();
	(void)fd;
	_exit(0);
}

static void send_fd(int to, char c)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { &c, 1 };
	struct msghdr mh = { NULL, 0, &iov, 1, &control, sizeof(control), 0 };
	int fd = 1;

	memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
	zdtm_must(sendmsg(to, &mh, 0) == 1);
}

int main(void)
{
	int sv[2], l = socket(AF_UNIX, SOCK_STREAM, 0), l2, l3, fd;
	pid_t tree = getpid(), kid;
	char c;

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	zdtm_must(!bind(l, (struct sockaddr *)&addr[2], sizeof(addr[2])) && !listen(l, 5));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(l);
		close(sv[0]);
		if (!fork()) {
			setsid();
			outside(sv[1], tree);
		}
		_exit(0);
	}
	zdtm_must(waitpid(kid, NULL, 0) == kid);
	close(sv[1]);
	while (access("outside", F_OK))
		zdtm_nap();
	at(100, sv[0]);
	at(101, to(SOCK_DGRAM, 0));
	at(102, l);
	at(103, to(SOCK_STREAM, 1));
	strcpy(addr[2].sun_path, "inside2.sock");
	l2 = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_must(!bind(l2, (struct sockaddr *)&addr[2], sizeof(addr[2])) && !listen(l2, 5));
	at(104, l2);
	fd = to(SOCK_STREAM, 2);
	send_fd(fd, 'e');
	strcpy(addr[2].sun_path, "inside3.sock");
	l3 = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_must(!bind(l3, (struct sockaddr *)&addr[2], sizeof(addr[2])) && !listen(l3, 5));
	fd = to(SOCK_STREAM, 2);
	send_fd(fd, 'l');
	close(fd);
	at(105, l3);
	zdtm_ready();
	zdtm_wait();
	zdtm_check((fd = accept(105, NULL, NULL)) >= 0 && recv(fd, &c, 1, 0) == 1 && c == 'l', "the one that is gone");
	zdtm_check((fd = accept(104, NULL, NULL)) >= 0 && recv(fd, &c, 1, 0) == 1 && c == 'e', "the early one");
	zdtm_check(accept(102, NULL, NULL) >= 0, "the one from outside");
	zdtm_check(send(101, "x", 1, MSG_DONTWAIT) == 1, "to outside: %s", strerror(errno));
	zdtm_check(send(103, "x", 1, MSG_DONTWAIT) == 1, "to the listener outside: %s", strerror(errno));
	zdtm_check(send(100, "x", 1, MSG_DONTWAIT) == 1, "to the stream outside: %s", strerror(errno));
	zdtm_check(recv(100, &c, 1, 0) == 0, "the one outside does not end");
	zdtm_pass();
}
