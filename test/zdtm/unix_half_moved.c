/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagram socketpairs one half of which has sent something and is connected elsewhere now, or to nobody: the other
 * half is still connected to it, and nobody can send to that again.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

static void expect(int fd, const char *text)
{
	char buf[16] = "";

	zdtm_check(recv(fd, buf, sizeof(buf), MSG_DONTWAIT) == (ssize_t)strlen(text) && !strcmp(buf, text),
	           "%s is expected in %d, not \"%s\"", text, fd, buf);
}

int main(void)
{
	struct sockaddr_un hub = { .sun_family = AF_UNIX, .sun_path = "hub" }, none = { .sun_family = AF_UNSPEC };
	struct sockaddr_un mine = { .sun_family = AF_UNIX, .sun_path = "mine" };
	struct sockaddr_un from = { 0 };
	socklen_t len = sizeof(from);
	char text[16];
	int moved[2], alone[2], named[2], center = socket(AF_UNIX, SOCK_DGRAM, 0);

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
	zdtm_ready();
	zdtm_wait();
	expect(center, "hub");
	expect(moved[1], "one");
	expect(moved[1], "two");
	expect(alone[1], "three");
	zdtm_check(recvfrom(named[1], text, 16, MSG_DONTWAIT, (struct sockaddr *)&from, &len) == 4 &&
	               !memcmp(text, "four", 4) && !strcmp(from.sun_path, "mine"),
	           "what the named half sent comes from \"%s\"", from.sun_path);
	zdtm_check(send(moved[0], "x", 1, 0) == 1, "the half that moved: %s", strerror(errno));
	expect(center, "x");
	zdtm_check(send(moved[1], "x", 1, 0) == -1 && errno == EPERM, "the half that stayed: %s", strerror(errno));
	zdtm_check(send(alone[0], "x", 1, 0) == -1 && errno == ENOTCONN, "the half alone: %s", strerror(errno));
	zdtm_check(send(alone[1], "y", 1, 0) == 1, "to the half alone: %s", strerror(errno));
	expect(alone[0], "y");
	zdtm_pass();
}
