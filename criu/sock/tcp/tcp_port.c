/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>

#include "lib/log.h"
#include "sock/diag.h"
#include "sock/tcp/tcp_port.h"
#include "sock/tcp/tcp_table.h"

/*
 * Bits of idiag_states for the sockets that tasks have: all but TIME_WAIT. 13 stands for sockets that are only bound,
 * which diag lists since 6.8.
 */
#define STATES_OF_TASKS ((((1U << (TCP_CLOSING + 1)) - 1) | 1U << 13) & ~(1U << TCP_TIME_WAIT))

static int found_one(const struct diag_inet *s, void *arg)
{
	return s->ino != 0;
}

bool tcp_port_is_left(struct arena *a, uint16_t port)
{
	return tcp_table_each(a, port, STATES_OF_TASKS, found_one, NULL) == 0;
}

/* ---- whether another socket listens at the port ---- */

/* IPv4 addresses mapped. */
static struct in6_addr as_v6(const union inet_addr *n)
{
	struct in6_addr a = { .s6_addr = { [10] = 0xff, [11] = 0xff } };

	if (n->any.sa_family == AF_INET6)
		return n->v6.sin6_addr;
	memcpy(&a.s6_addr[12], &n->v4.sin_addr, 4);
	return a;
}

struct wanted_port {
	const union inet_addr *n;
	bool v6only;
};

static int address_overlaps(const struct diag_inet *s, void *arg)
{
	const struct wanted_port *w = arg;
	union inet_addr n;
	struct in6_addr theirs, ours = as_v6(w->n);
	bool one_is_any;

	inet_addr_from_words(s->family, s->src, s->family == AF_INET6 ? 4 : 1, s->sport, NULL, &n);
	theirs = as_v6(&n);
	if (s->family != w->n->any.sa_family && (s->v6only || w->v6only))
		return 0;
	one_is_any = inet_addr_is_any(&n) || inet_addr_is_any(w->n);
	return one_is_any || IN6_ARE_ADDR_EQUAL(&theirs, &ours) ? -EADDRINUSE : 0;
}

static int check_no_listener(struct arena *a, int fd, const union inet_addr *n)
{
	struct wanted_port w = { .n = n };
	socklen_t len = sizeof(int);
	int only = 0;

	if (n->any.sa_family == AF_INET6 && !getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &len))
		w.v6only = only;
	return tcp_table_each(a, inet_addr_port(n), 1U << TCP_LISTEN, address_overlaps, &w);
}

/* ---- taking the port ---- */

static int get_option(int fd, int level, int name, int *v)
{
	socklen_t len = sizeof(*v);

	return getsockopt(fd, level, name, v, &len) ? -errno : 0;
}

static int set_option(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v)) ? -errno : 0;
}

/* A socket in TCP_REPAIR may bind any port, even one in use (SK_FORCE_REUSE, net/ipv4/inet_connection_sock.c). */
static int bind_in_repair(int fd, const union inet_addr *n)
{
	int err = set_option(fd, IPPROTO_TCP, TCP_REPAIR, 1);

	return err ?: bind(fd, &n->any, inet_addr_len(n)) ? -errno : 0;
}

int tcp_port_bind(struct arena *a, int fd, const union inet_addr *n)
{
	int reuse = 0, part, err = check_no_listener(a, fd, n);

	err = err ?: get_option(fd, SOL_SOCKET, SO_REUSEADDR, &reuse) ?: bind_in_repair(fd, n);
	/* Leaving repair has cleared SO_REUSEADDR. */
	part = set_option(fd, IPPROTO_TCP, TCP_REPAIR, -1) ?: set_option(fd, SOL_SOCKET, SO_REUSEADDR, reuse);
	return err ?: part;
}

/* Another socket with the same address and owner. */
static int open_twin(int fd, const union inet_addr *n, int reuseport)
{
	int new = socket(n->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), only, dev, err = 0;
	struct stat st;

	if (new < 0)
		return -errno;
	if (n->any.sa_family == AF_INET6 && !get_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only))
		err = set_option(new, IPPROTO_IPV6, IPV6_V6ONLY, only);
	if (!err && !get_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &dev) && dev)
		err = set_option(new, SOL_SOCKET, SO_BINDTOIFINDEX, dev);
	if (!err && (fstat(fd, &st) || fchown(new, st.st_uid, st.st_gid)))
		err = -errno;
	err = err ?: set_option(new, SOL_SOCKET, SO_REUSEPORT, reuseport) ?: bind_in_repair(new, n);
	if (err)
		close(new);
	return err ?: new;
}

/*
 * listen() checks the port once more, and cannot be called in repair, which a listening socket could not leave. But the
 * check is skipped for a socket with SO_REUSEPORT if the one bound last at the port has it too, and the same owner and
 * address: the first twin. A second twin, without SO_REUSEPORT, closes that door to other processes again.
 */
int tcp_port_listen(struct arena *a, int fd, const union inet_addr *n, int backlog)
{
	_cleanup_close_ int first = -1, second = -1;
	int was = 0, part, err = check_no_listener(a, fd, n) ?: get_option(fd, SOL_SOCKET, SO_REUSEPORT, &was);

	if (err)
		return err;
	first = open_twin(fd, n, 1);
	if (first < 0)
		return first;
	err = set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err && listen(fd, backlog))
		err = -errno;
	part = set_option(fd, SOL_SOCKET, SO_REUSEPORT, was);
	second = open_twin(fd, n, 0);
	return err ?: part ?: second < 0 ? second : 0;
}
