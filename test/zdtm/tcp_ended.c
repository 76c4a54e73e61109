/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connections that have ended, by a reset, by both FINs, or refused: what was not read is still to be read, then comes
 * the end or the error, once; a port that bind() had taken stays taken, any other is free.
 *
 * zdtm: exclusive
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: no-userns forces the size of a buffer
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

#include "zdtm.h"

enum way { RESET, FINS, REFUSED };

struct ended {
	enum way way;
	int kind;   /* IPv4, IPv6, mapped */
	int server; /* the accepted side of it */
	int unread; /* bytes */
	int bound;  /* by bind() */
	int told;   /* its error was read already */
	int fd;
	struct sockaddr_in6 name;
};

static struct ended all[] = {
	{ .way = RESET, .unread = 100 },
	{ .way = RESET },
	{ .way = RESET, .told = 1 },
	{ .way = RESET, .unread = 1, .told = 1 },
	{ .way = RESET, .unread = 3000, .server = 1 },
	{ .way = RESET, .unread = 10, .bound = 1 },
	{ .way = RESET, .bound = 1, .told = 1 },
	{ .way = FINS },
	{ .way = FINS, .unread = 5000 },
	{ .way = FINS, .unread = 1 << 20 },
	{ .way = FINS, .unread = 77, .server = 1 },
	{ .way = FINS, .bound = 1 },
	{ .way = FINS, .bound = 1, .unread = 9 },
	{ .way = REFUSED },
	{ .way = REFUSED, .told = 1 },
	{ .way = REFUSED, .bound = 1 },
	{ .way = REFUSED, .bound = 1, .told = 1 },
	{ .way = RESET, .unread = 100, .kind = 1 },
	{ .way = FINS, .unread = 100, .kind = 1, .bound = 1 },
	{ .way = REFUSED, .kind = 1 },
	{ .way = RESET, .unread = 100, .kind = 2, .server = 1 },
	{ .way = FINS, .unread = 100, .kind = 2 },
	{ .way = REFUSED, .kind = 2 },
};

static char bytes[1 << 20], got[(1 << 20) + 1];

static void address(int kind, uint16_t port, struct sockaddr_in6 *a, socklen_t *len)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)a;

	memset(a, 0, sizeof(*a));
	*len = kind ? sizeof(*a) : sizeof(*v4);
	if (kind) {
		a->sin6_family = AF_INET6;
		a->sin6_port = port;
		a->sin6_addr = in6addr_loopback;
		if (kind == 2)
			memcpy(&a->sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1", 16);
		return;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = port;
	v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	zdtm_must(!getsockname(fd, (struct sockaddr *)&a, &len));
	return a.sin6_port;
}

static uint8_t state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	zdtm_must(!getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
	return info.tcpi_state;
}

static void until_closed(int fd)
{
	for (int i = 0; state_of(fd) != TCP_CLOSE; i++) {
		zdtm_must(i < 10000);
		usleep(1000);
	}
}

static void put(int from, int to, int n)
{
	int there = 0;

	for (int sent = 0; sent < n;) {
		ssize_t r = send(from, bytes + sent, (size_t)(n - sent), 0);

		zdtm_must(r > 0);
		sent += (int)r;
	}
	for (int i = 0; there < n; i++) {
		zdtm_must(i < 10000 && !ioctl(to, SIOCINQ, &there));
		usleep(there < n ? 1000 : 0);
	}
}

static void finish(struct ended *e, int other)
{
	struct linger none = { .l_onoff = 1 };

	put(other, e->fd, e->unread);
	if (e->way == FINS) {
		zdtm_must(!shutdown(other, SHUT_WR) && !shutdown(e->fd, SHUT_WR));
		until_closed(e->fd);
	} else {
		zdtm_must(!setsockopt(other, SOL_SOCKET, SO_LINGER, &none, sizeof(none)));
	}
	close(other);
	until_closed(e->fd);
}

/* Only a port that was asked for stays held after the end. */
static void bind_to_free(int kind, int fd)
{
	int probe = socket(kind ? AF_INET6 : AF_INET, SOCK_STREAM, 0), off = 0;
	struct sockaddr_in6 a;
	socklen_t len;
	uint16_t port;

	address(kind, 0, &a, &len);
	if (kind == 2)
		zdtm_must(!setsockopt(probe, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	zdtm_must(!bind(probe, (struct sockaddr *)&a, len));
	port = port_of(probe);
	close(probe);
	address(kind, port, &a, &len);
	zdtm_must(!bind(fd, (struct sockaddr *)&a, len));
}

static void make(struct ended *e)
{
	int family = e->kind ? AF_INET6 : AF_INET, off = 0, big = 4 << 20, l, c, error;
	struct sockaddr_in6 a;
	socklen_t len;

	l = socket(family, SOCK_STREAM, 0);
	c = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (e->kind == 2)
		zdtm_must(!setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	zdtm_must(!setsockopt(c, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof(big)));
	address(e->kind, 0, &a, &len);
	zdtm_must(!bind(l, (struct sockaddr *)&a, len));
	if (e->bound)
		bind_to_free(e->kind, c);
	if (e->way != REFUSED)
		zdtm_must(!listen(l, 5));
	address(e->kind, port_of(l), &a, &len);
	zdtm_must(connect(c, (struct sockaddr *)&a, len) && errno == EINPROGRESS);
	e->fd = c;
	if (e->way == REFUSED) {
		until_closed(c);
	} else {
		int s = accept4(l, NULL, NULL, SOCK_NONBLOCK);

		zdtm_must(s >= 0);
		e->fd = e->server ? s : c;
		finish(e, e->server ? c : s);
	}
	len = sizeof(error);
	if (e->told)
		zdtm_must(!getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &len) && error);
	close(l);
	len = sizeof(e->name);
	zdtm_must(!getsockname(e->fd, (struct sockaddr *)&e->name, &len));
}

/* Nobody but who has it keeps another from binding it. */
static int port_is_held(const struct ended *e)
{
	int fd = socket(e->kind ? AF_INET6 : AF_INET, SOCK_STREAM, 0), ret, off = 0;
	struct sockaddr_in6 a;
	socklen_t len;

	address(e->kind, e->name.sin6_port, &a, &len);
	if (e->kind == 2)
		zdtm_must(!setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	ret = bind(fd, (struct sockaddr *)&a, len);
	close(fd);
	return ret && errno == EADDRINUSE;
}

static void check_name(const struct ended *e, int i)
{
	struct sockaddr_in6 now;
	socklen_t len = sizeof(now);
	uint8_t state = state_of(e->fd);

	zdtm_check(state == TCP_CLOSE, "%d: state %u", i, state);
	zdtm_check(getpeername(e->fd, (struct sockaddr *)&now, &len) && errno == ENOTCONN, "%d: it has a peer", i);
	len = sizeof(now);
	if (e->bound)
		zdtm_check(!getsockname(e->fd, (struct sockaddr *)&now, &len) && !memcmp(&now, &e->name, len),
		           "%d: it has another name", i);
	/* What has ended by its own FIN leaves TIME_WAIT, which holds a port as well. */
	if (e->bound || (e->way != FINS && !e->server))
		zdtm_check(port_is_held(e) == e->bound, "%d: its port is %s", i, e->bound ? "free" : "held");
}

static void check(const struct ended *e, int i)
{
	struct pollfd p = { .fd = e->fd, .events = POLLIN | POLLRDHUP };
	int error = e->told || e->way == FINS ? 0 : e->way == RESET ? ECONNRESET : ECONNREFUSED, n = 0, size = -1;
	socklen_t len = sizeof(size);
	ssize_t r;

	zdtm_check(!getsockopt(e->fd, SOL_SOCKET, SO_RCVBUF, &size, &len) && (e->server || size == 8 << 20),
	           "%d: SO_RCVBUF is %d", i, size);
	zdtm_check(poll(&p, 1, 0) == 1 && (p.revents & POLLERR ? 1 : 0) == (error ? 1 : 0) && p.revents & POLLHUP &&
	               p.revents & POLLRDHUP && p.revents & POLLIN,
	           "%d: poll says %x", i, p.revents);
	check_name(e, i);
	while ((r = recv(e->fd, got + n, sizeof(got) - (size_t)n, 0)) > 0)
		n += (int)r;
	zdtm_check(n == e->unread && !memcmp(got, bytes, (size_t)n), "%d: %d bytes instead of %d", i, n, e->unread);
	if (error)
		zdtm_check(r < 0 && errno == error, "%d: %s instead of %s", i, r < 0 ? strerror(errno) : "the end",
		           strerror(error));
	else
		zdtm_check(!r, "%d: %s instead of the end", i, strerror(errno));
	zdtm_check(!recv(e->fd, got, 1, 0), "%d: no end", i);
	zdtm_check(send(e->fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE, "%d: sending is %s", i, strerror(errno));
}

int main(void)
{
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		make(&all[i]);
	zdtm_ready();
	zdtm_wait();
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		check(&all[i], (int)i);
	zdtm_pass();
}
