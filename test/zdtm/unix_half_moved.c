/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagram socketpairs one half of which has sent something and is connected elsewhere now, or to nobody: the other
 * half is still connected to it, and nobody can send to that again. A named half that is gone. Named sockets in their
 * own queues, which live on for a moment when all who had them are gone.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 */
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define CYCLES 40

static void expect(int fd, const char *text)
{
	char buf[16] = "";

	zdtm_check(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)strlen(text) && !strcmp(buf, text),
	           "%s is expected in %d, not \"%s\"", text, fd, buf);
}

static void expect_from(int fd, const char *text, const char *name)
{
	struct sockaddr_un from = { 0 };
	socklen_t len = sizeof(from);
	char buf[16] = "";

	zdtm_check(recvfrom(fd, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len) > 0 &&
	               !strcmp(buf, text) && !strcmp(from.sun_path, name),
	           "\"%s\" from \"%s\" instead of %s from %s", buf, from.sun_path, text, name);
}

/* A socket in its own queue. */
static void to_itself(int n, int fds[2])
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char c = 'c', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { .iov_base = &c, .iov_len = 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	int len = sprintf(a.sun_path + 1, "zdtm-itself-%d-%d", getpid(), n);

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, fds));
	zdtm_must(!bind(fds[0], (struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)));
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &fds[0], sizeof(int));
	zdtm_must(sendmsg(fds[1], &m, 0) == 1);
}

int main(void)
{
	struct sockaddr_un hub = { .sun_family = AF_UNIX, .sun_path = "hub" }, none = { .sun_family = AF_UNSPEC };
	struct sockaddr_un mine = { .sun_family = AF_UNIX, .sun_path = "mine" };
	struct sockaddr_un away = { .sun_family = AF_UNIX, .sun_path = "away" };
	int itself[CYCLES][2], gone[2], moved[2], alone[2], named[2], center = socket(AF_UNIX, SOCK_DGRAM, 0);

	zdtm_must(center >= 0 && !bind(center, (struct sockaddr *)&hub, sizeof(hub)));
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, moved) && !socketpair(AF_UNIX, SOCK_DGRAM, 0, alone));
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, named));
	zdtm_must(!bind(named[0], (struct sockaddr *)&mine, sizeof(mine)));
	zdtm_must(send(moved[0], "one", 3, 0) == 3 && send(moved[0], "two", 3, 0) == 3);
	zdtm_must(send(alone[0], "three", 5, 0) == 5 && send(named[0], "four", 4, 0) == 4);
	zdtm_must(!connect(moved[0], (struct sockaddr *)&hub, sizeof(hub)));
	zdtm_must(!connect(named[0], (struct sockaddr *)&hub, sizeof(hub)));
	zdtm_must(!connect(alone[0], (struct sockaddr *)&none, sizeof(none)));
	zdtm_must(send(moved[0], "hub", 3, 0) == 3);
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, gone) && !bind(gone[0], (struct sockaddr *)&away, sizeof(away)));
	zdtm_must(send(gone[0], "five", 4, 0) == 4 && !close(gone[0]));
	for (int i = 0; i < CYCLES; i++)
		to_itself(i, itself[i]);
	zdtm_ready();
	zdtm_wait();
	expect(center, "hub");
	for (int i = 0; i < CYCLES; i++)
		expect(itself[i][0], "c");
	expect_from(gone[1], "five", "away");
	expect(moved[1], "one");
	expect(moved[1], "two");
	expect(alone[1], "three");
	expect_from(named[1], "four", "mine");
	zdtm_check(send(moved[0], "x", 1, 0) == 1, "the half that moved: %s", strerror(errno));
	expect(center, "x");
	zdtm_check(send(moved[1], "x", 1, 0) == -1 && errno == EPERM, "the half that stayed: %s", strerror(errno));
	zdtm_check(send(alone[0], "x", 1, 0) == -1 && errno == ENOTCONN, "the half alone: %s", strerror(errno));
	zdtm_check(send(alone[1], "y", 1, 0) == 1, "to the half alone: %s", strerror(errno));
	expect(alone[0], "y");
	zdtm_pass();
}
