/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>

#include "lib/log.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_port.h"
#include "sock/tcp/tcp_table.h"

/* Bits of idiag_states: TIME_WAIT is nobody's; 13 are sockets that are bound and no more, where diag lists them (6.8).
 */
#define SOMEBODYS ((((1U << (TCP_CLOSING + 1)) - 1) | 1U << 13) & ~(1U << TCP_TIME_WAIT))

static int any(const struct diag_inet *s, void *arg)
{
	return 1;
}

bool tcp_port_is_left(struct arena *a, uint16_t port)
{
	return tcp_table_each(a, port, SOMEBODYS, any, NULL) == 0;
}

/* ---- whether somebody listens there ---- */

static struct in6_addr general(const union inet_addr *n)
{
	struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (n->any.sa_family == AF_INET6)
		return n->v6.sin6_addr;
	memcpy(&a.s6_addr[12], &n->v4.sin_addr, 4);
	return a;
}

struct wanted {
	const union inet_addr *n;
	bool v6only;
};

static int overlaps(const struct diag_inet *s, void *arg)
{
	const struct wanted *w = arg;
	union inet_addr n;
	struct in6_addr theirs, ours = general(w->n);
	bool any_of_them;

	inet_addr_from_words(s->family, s->src, s->family == AF_INET6 ? 4 : 1, s->sport, NULL, &n);
	theirs = general(&n);
	if (s->family != w->n->any.sa_family && (s->v6only || w->v6only))
		return 0;
	any_of_them = inet_addr_is_any(&n) || inet_addr_is_any(w->n);
	return any_of_them || IN6_ARE_ADDR_EQUAL(&theirs, &ours) ? -EADDRINUSE : 0;
}

static int check_nobody_listens(struct arena *a, int fd, const union inet_addr *n)
{
	struct wanted w = { .n = n };
	socklen_t len = sizeof(int);
	int only = 0;

	if (n->any.sa_family == AF_INET6 && !getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len))
		w.v6only = only;
	return tcp_table_each(a, inet_addr_port(n), 1U << TCP_LISTEN, overlaps, &w);
}

/* ---- taking it ---- */

static int get(int fd, int level, int name, int *v)
{
	socklen_t len = sizeof(*v);

	return getsockopt(fd, level, name, v, &len) ? -errno : 0;
}

static int set(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v)) ? -errno : 0;
}

/* A socket in TCP_REPAIR binds whatever there is (SK_FORCE_REUSE, net/ipv4/inet_connection_sock.c). */
static int bind_in_repair(int fd, const union inet_addr *n)
{
	int err = set(fd, IPPROTO_TCP, TCP_REPAIR, 1);

	return err ?: bind(fd, &n->any, inet_addr_len(n)) ? -errno : 0;
}

int tcp_port_bind(struct arena *a, int fd, const union inet_addr *n)
{
	int reuse = 0, part, err = check_nobody_listens(a, fd, n);

	err = err ?: get(fd, SOL_SOCKET, SO_REUSEADDR, &reuse) ?: bind_in_repair(fd, n);
	/* That took SO_REUSEADDR with it. */
	part = set(fd, IPPROTO_TCP, TCP_REPAIR, -1) ?: set(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	return err ?: part;
}

/* Another one at the same place and of the same owner. */
static int twin(int fd, const union inet_addr *n, int reuseport)
{
	int new = socket(n->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), only, dev, err = 0;
	struct stat st;

	if (new < 0)
		return -errno;
	if (n->any.sa_family == AF_INET6 && !get(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only))
		err = set(new, IPPROTO_IPV6, IPV6_V6ONLY, only);
	if (!err && !get(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &dev) && dev)
		err = set(new, SOL_SOCKET, SO_BINDTOIFINDEX, dev);
	if (!err && (fstat(fd, &st) || fchown(new, st.st_uid, st.st_gid)))
		err = -errno;
	err = err ?: set(new, SOL_SOCKET, SO_REUSEPORT, reuseport) ?: bind_in_repair(new, n);
	if (err)
		close(new);
	return err ?: new;
}

/*
 * listen() looks at its port once more, out of repair: from a listening socket it cannot be switched off. But one with
 * SO_REUSEPORT is let through unseen where the last that was bound there had it as well, and the same owner and
 * address. A second twin, without it, takes that way from others again.
 */
int tcp_port_listen(struct arena *a, int fd, const union inet_addr *n, int backlog)
{
	_cleanup_close_ int first = -1, second = -1;
	int was = 0, part, err = check_nobody_listens(a, fd, n) ?: get(fd, SOL_SOCKET, SO_REUSEPORT, &was);

	if (err)
		return err;
	first = twin(fd, n, 1);
	if (first < 0)
		return first;
	err = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err && listen(fd, backlog))
		err = -errno;
	part = set(fd, SOL_SOCKET, SO_REUSEPORT, was);
	second = twin(fd, n, 0);
	return err ?: part ?: second < 0 ? second : 0;
}
