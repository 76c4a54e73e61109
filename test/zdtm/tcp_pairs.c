/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Both ends of TCP connections in one tree, in every state that shutdown() makes, with empty queues and with bytes in
 * them, IPv4, IPv6 and mapped; options are as they were, and the listener's port goes on.
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "zdtm.h"

enum shut { NOBODY, CLIENT, SERVER, BOTH, SHUTS };

static const char client_words[] = "from the client";
static const char server_words[] = "from the server, which says more";

struct pair {
	int c, s;
	enum shut shut;
	int data;
	uint8_t c_state, s_state;
};

#define N (3 * SHUTS * 2)

static uint8_t state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	zdtm_must(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_state;
}

static int listener(int family, struct sockaddr_storage *at, socklen_t *len)
{
	int fd = socket(family, SOCK_STREAM, 0), off = 0, on = 1;

	memset(at, 0, sizeof(*at));
	at->ss_family = (sa_family_t)family;
	*len = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (family == AF_INET6)
		zdtm_must(!setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	zdtm_must(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)));
	zdtm_must(!bind(fd, (struct sockaddr *)at, *len) && !listen(fd, 50));
	zdtm_must(!getsockname(fd, (struct sockaddr *)at, len));
	return fd;
}

/* kind: IPv4, IPv6, IPv4 to an IPv6 socket. */
static int client(int kind, uint16_t port)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = port };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = in6addr_loopback };
	int fd = socket(kind == 1 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);

	a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (kind == 1)
		zdtm_must(!connect(fd, (struct sockaddr *)&a6, sizeof(a6)));
	else
		zdtm_must(!connect(fd, (struct sockaddr *)&a4, sizeof(a4)));
	return fd;
}

static void settle(struct pair *p)
{
	static const uint8_t want[SHUTS][2] = { [NOBODY] = { TCP_ESTABLISHED, TCP_ESTABLISHED },
		                                [CLIENT] = { TCP_FIN_WAIT2, TCP_CLOSE_WAIT },
		                                [SERVER] = { TCP_CLOSE_WAIT, TCP_FIN_WAIT2 } };

	for (int i = 0; i < 5000; i++) {
		p->c_state = state_of(p->c);
		p->s_state = state_of(p->s);
		if (p->shut == BOTH ? p->c_state == TCP_CLOSE && p->s_state == TCP_CLOSE
		                    : p->c_state == want[p->shut][0] && p->s_state == want[p->shut][1])
			return;
		usleep(1000);
	}
	errno = ETIMEDOUT;
	zdtm_must(p->shut == SHUTS);
}

static struct pair make(int kind, int l, uint16_t port, enum shut shut, int data)
{
	struct pair p = { .c = client(kind, port), .shut = shut, .data = data };
	int on = 1, idle = 77;

	p.s = accept(l, NULL, NULL);
	zdtm_must(p.s >= 0);
	zdtm_must(!setsockopt(p.c, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
	zdtm_must(!setsockopt(p.c, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle)));
	zdtm_must(!setsockopt(p.c, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
	if (data) {
		zdtm_must(send(p.c, client_words, sizeof(client_words), 0) == sizeof(client_words));
		zdtm_must(send(p.s, server_words, sizeof(server_words), 0) == sizeof(server_words));
	}
	if (shut == CLIENT || shut == BOTH)
		zdtm_must(!shutdown(p.c, SHUT_WR));
	usleep(1000);
	if (shut == SERVER || shut == BOTH)
		zdtm_must(!shutdown(p.s, SHUT_WR));
	settle(&p);
	return p;
}

static int got(int fd, const char *words, size_t len, int then_end, int number)
{
	char buf[200];
	size_t n = 0;

	while (n < len || then_end) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t r;

		if (!zdtm_check(poll(&p, 1, 60000) == 1, "pair %d: nothing comes", number))
			return 0;
		r = recv(fd, buf + n, sizeof(buf) - n, MSG_DONTWAIT);
		if (!zdtm_check(r >= 0, "pair %d: %s", number, strerror(errno)))
			return 0;
		if (!r)
			break;
		n += (size_t)r;
	}
	return zdtm_check(n == len && !memcmp(buf, words, len), "pair %d: %zu bytes instead of %zu", number, n, len);
}

static void check(struct pair *p, int i)
{
	int v = 0;
	socklen_t len = sizeof(v);
	int c_shut = p->shut == CLIENT || p->shut == BOTH, s_shut = p->shut == SERVER || p->shut == BOTH;

	zdtm_check(state_of(p->c) == p->c_state && state_of(p->s) == p->s_state,
	           "pair %d: states %u %u instead of %u %u", i, state_of(p->c), state_of(p->s), p->c_state, p->s_state);
	zdtm_check(!getsockopt(p->c, IPPROTO_TCP, TCP_NODELAY, &v, &len) && v, "pair %d: TCP_NODELAY is off", i);
	zdtm_check(!getsockopt(p->c, IPPROTO_TCP, TCP_KEEPIDLE, &v, &len) && v == 77, "pair %d: TCP_KEEPIDLE %d", i, v);
	zdtm_check(!getsockopt(p->c, SOL_SOCKET, SO_REUSEADDR, &v, &len) && !v, "pair %d: SO_REUSEADDR of a client", i);
	zdtm_check(!getsockopt(p->s, SOL_SOCKET, SO_REUSEADDR, &v, &len) && v == 1, "pair %d: SO_REUSEADDR is %d", i,
	           v);
	got(p->s, client_words, p->data ? sizeof(client_words) : 0, c_shut, i);
	got(p->c, server_words, p->data ? sizeof(server_words) : 0, s_shut, i);
	if (!c_shut && zdtm_check(send(p->c, "more", 4, MSG_NOSIGNAL) == 4, "pair %d: %s", i, strerror(errno)))
		got(p->s, "more", 4, 0, i);
	if (!s_shut && zdtm_check(send(p->s, "again", 5, MSG_NOSIGNAL) == 5, "pair %d: %s", i, strerror(errno)))
		got(p->c, "again", 5, 0, i);
}

int main(void)
{
	struct sockaddr_storage a4, a6;
	socklen_t l4, l6;
	int fd4 = listener(AF_INET, &a4, &l4), fd6 = listener(AF_INET6, &a6, &l6), n = 0;
	uint16_t port4 = ((struct sockaddr_in *)&a4)->sin_port, port6 = ((struct sockaddr_in6 *)&a6)->sin6_port;
	struct pair pairs[N];

	for (int kind = 0; kind < 3; kind++)
		for (int shut = 0; shut < SHUTS; shut++)
			for (int data = 0; data < 2; data++) {
				if (shut == BOTH && data)
					continue;
				pairs[n++] = make(kind, kind ? fd6 : fd4, kind ? port6 : port4, (enum shut)shut, data);
			}
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < n; i++)
		check(&pairs[i], i);
	make(0, fd4, port4, NOBODY, 1);
	make(1, fd6, port6, CLIENT, 1);
	zdtm_pass();
}
