/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pairs that do not wait, before and after a socket with a name: those behind are made with those before, and are not
 * among what is made with the name. One of them has an option.
 */
#include <fcntl.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "zdtm.h"

#define N 3

static void check_pair(const int sv[2], int i)
{
	char c = 0;

	zdtm_check(send(sv[0], "x", 1, 0) == 1 && recv(sv[1], &c, 1, 0) == 1 && c == 'x', "pair %d: %s", i,
	           strerror(errno));
	zdtm_check(recv(sv[1], &c, 1, 0) < 0 && errno == EAGAIN, "pair %d waits", i);
	for (int k = 0; k < 2; k++)
		zdtm_check(fcntl(sv[k], F_GETFL) & O_NONBLOCK, "pair %d: it would wait", i);
}

int main(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len =
	    offsetof(struct sockaddr_un, sun_path) + 1 + (socklen_t)sprintf(a.sun_path + 1, "turns %d", getpid());
	int sv[N][2], fd = -1, got;

	for (int i = 0; i < N; i++) {
		zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv[i]));
		if (!i)
			zdtm_must((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) >= 0 &&
			          !bind(fd, (struct sockaddr *)&a, len) && !listen(fd, 3));
	}
	zdtm_must(!setsockopt(sv[N - 1][0], SOL_SOCKET, SO_SNDBUF, &(int) { 10000 }, sizeof(int)));
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		check_pair(sv[i], i);
	zdtm_check(!getsockopt(sv[N - 1][0], SOL_SOCKET, SO_SNDBUF, &got, &(socklen_t) { sizeof(got) }) && got == 20000,
	           "SO_SNDBUF is %d", got);
	got = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_check(!connect(got, (struct sockaddr *)&a, len), "connect: %s", strerror(errno));
	zdtm_check(accept(fd, NULL, NULL) >= 0, "accept: %s", strerror(errno));
	zdtm_pass();
}
