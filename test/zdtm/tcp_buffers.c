/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections with full queues both ways: the sizes of their buffers are the same afterwards, and those that the
 * kernel tunes by itself are still tuned.
 *
 * zdtm: iters 3
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "zdtm.h"

#define BUF_LOCK 72 /* SO_BUF_LOCK of asm-generic/socket.h, 5.15 */

static const struct option {
	int name;
	const char *text;
} options[] = { { SO_SNDBUF, "SO_SNDBUF" }, { SO_RCVBUF, "SO_RCVBUF" }, { BUF_LOCK, "SO_BUF_LOCK" } };

struct end {
	int fd, was[3];
	size_t sent;
};

static int get(int fd, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	zdtm_must(!getsockopt(fd, SOL_SOCKET, name, &v, &len));
	return v;
}

static void fill(struct end *e)
{
	static char bytes[65536];
	ssize_t n;

	while ((n = send(e->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 || (n < 0 && errno == EINTR))
		e->sent += (size_t)n;
	zdtm_must(errno == EAGAIN);
}

static void drain(struct end *from, struct end *to, const char *name)
{
	struct timeval patience = { .tv_sec = 60 };
	static char bytes[65536];
	size_t got = 0;
	ssize_t n = 1;

	setsockopt(to->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (got < from->sent && (n = recv(to->fd, bytes, sizeof(bytes), 0)) > 0)
		got += (size_t)n;
	zdtm_check(got == from->sent, "%s: %zu bytes of %zu: %s", name, got, from->sent, strerror(errno));
}

static void connected(struct end e[2], int sndbuf, int rcvbuf)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof(at);

	e[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(!bind(l, (struct sockaddr *)&at, len) && !listen(l, 1) &&
	          !getsockname(l, (struct sockaddr *)&at, &len));
	zdtm_must(!connect(e[0].fd, (struct sockaddr *)&at, len));
	e[1].fd = accept(l, NULL, NULL);
	zdtm_must(e[1].fd >= 0);
	close(l);
	for (int i = 0; i < 2; i++) {
		if (sndbuf)
			zdtm_must(!setsockopt(e[i].fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)));
		if (rcvbuf)
			zdtm_must(!setsockopt(e[i].fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof(rcvbuf)));
	}
	for (int i = 0; i < 2; i++)
		fill(&e[i]);
}

int main(void)
{
	static const char *const names[] = { "tuned", "small", "only sending" };
	struct end e[3][2] = { 0 };

	connected(e[0], 0, 0);
	connected(e[1], 10000, 20000);
	connected(e[2], 30000, 0);
	usleep(300000); /* what is on its way comes to rest */
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 3; k++)
			e[i / 2][i % 2].was[k] = get(e[i / 2][i % 2].fd, options[k].name);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 6; i++)
		for (int k = 0; k < 3; k++) {
			int is = get(e[i / 2][i % 2].fd, options[k].name), was = e[i / 2][i % 2].was[k];

			zdtm_check(is == was, "%s, end %d: %s is %d instead of %d", names[i / 2], i % 2,
			           options[k].text, is, was);
		}
	for (int i = 0; i < 3; i++) {
		drain(&e[i][0], &e[i][1], names[i]);
		drain(&e[i][1], &e[i][0], names[i]);
	}
	zdtm_pass();
}
