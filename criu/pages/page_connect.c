/* SPDX-License-Identifier: GPL-2.0-only */
/* How a connection comes about: by TCP, over IPv4 or IPv6, or inherited. */
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "options/options.h"
#include "pages/page_peer.h"
#include "pages/page_tls.h"

/* What stands in messages. */
static const char *address_of(const struct options *o)
{
	return o->address ?: "any address";
}

static int find_addresses(const struct options *o, bool listens, struct addrinfo **list)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = listens ? AI_PASSIVE : 0 };
	char port[16];
	int err;

	snprintf(port, sizeof(port), "%u", o->port);
	err = getaddrinfo(o->address, port, &hints, list);
	if (!err)
		return 0;
	return log_errno(-EINVAL, "--address %s: getaddrinfo: %s", address_of(o),
	                 err == EAI_SYSTEM ? strerror(errno) : gai_strerror(err));
}

/* Requests wait for their answers: nothing is held back to be sent together. */
static void send_at_once(int fd)
{
	int on = 1;

	(void)!setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a unix socket that is inherited has none */
}

static int take_inherited(const struct options *o, struct page_peer *p)
{
	int type;
	socklen_t len = sizeof(type);

	if (getsockopt(o->ps_socket, SOL_SOCKET, SO_TYPE, &type, &len))
		return log_errno(-errno, "--ps-socket %d: getsockopt(SO_TYPE)", o->ps_socket);
	if (type != SOCK_STREAM)
		return log_errno(-EINVAL, "--ps-socket %d is not a stream socket", o->ps_socket);
	p->fd = o->ps_socket;
	p->inherited = true;
	if (fcntl(p->fd, F_SETFD, FD_CLOEXEC))
		return log_errno(-errno, "--ps-socket %d: fcntl(F_SETFD)", o->ps_socket);
	send_at_once(p->fd);
	return 0;
}

static int begin_tls(const struct options *o, struct page_peer *p, bool server)
{
	int err = o->tls ? page_tls_begin(o, p->fd, server, p->limit, &p->tls) : 0;

	if (err)
		page_peer_close(p);
	return err;
}

/* ---- the dump ---- */

static int finish_connect(int fd, unsigned limit)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int err = 0, n;
	socklen_t len = sizeof(err);

	do
		n = poll(&p, 1, (int)limit);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -ETIMEDOUT;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? -errno : -err;
}

static int try_address(const struct addrinfo *a, unsigned limit)
{
	_cleanup_close_ int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	int err;

	if (fd < 0)
		return -errno;
	err = connect(fd, a->ai_addr, a->ai_addrlen) ? -errno : 0;
	if (err == -EINPROGRESS)
		err = finish_connect(fd, limit);
	return err ?: move_fd(&fd);
}

int page_peer_connect(const struct options *o, struct page_peer *p)
{
	struct addrinfo *list;
	int err;

	*p = (struct page_peer) { .fd = -1, .limit = o->timeout * 1000 };
	if (o->ps_socket >= 0)
		return take_inherited(o, p) ?: begin_tls(o, p, false);
	err = find_addresses(o, false, &list);
	if (err)
		return err;
	for (const struct addrinfo *a = list; a && p->fd < 0; a = a->ai_next)
		p->fd = try_address(a, p->limit);
	freeaddrinfo(list);
	if (p->fd < 0)
		return log_errno(p->fd, "connect to the page server, %s, port %u (criu page-server has to run there)",
		                 o->address ?: "this host", o->port);
	send_at_once(p->fd);
	return begin_tls(o, p, false);
}

/* ---- the server ---- */

static int try_listen(const struct addrinfo *a)
{
	_cleanup_close_ int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
	int on = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, a->ai_addr, a->ai_addrlen) || listen(fd, 1))
		return -errno;
	return move_fd(&fd);
}

static int read_port(int fd, unsigned *port)
{
	union {
		struct sockaddr_storage any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} name;
	socklen_t len = sizeof(name);

	if (getsockname(fd, (struct sockaddr *)&name, &len))
		return log_errno(-errno, "getsockname of the page server's socket");
	*port = ntohs(name.any.ss_family == AF_INET6 ? name.in6.sin6_port : name.in.sin_port);
	return 0;
}

int page_peer_listen(const struct options *o, int *listener, unsigned *port)
{
	struct addrinfo *list;
	int err, fd = -EADDRNOTAVAIL;

	*listener = -1;
	*port = 0;
	err = o->tls ? page_tls_check(o) : 0;
	if (err || o->ps_socket >= 0)
		return err;
	err = find_addresses(o, true, &list);
	if (err)
		return err;
	for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = try_listen(a);
	freeaddrinfo(list);
	if (fd < 0)
		return log_errno(fd, "bind and listen on %s, port %u", address_of(o), o->port);
	*listener = fd;
	return read_port(fd, port);
}

int page_peer_accept(const struct options *o, int listener, struct page_peer *p)
{
	*p = (struct page_peer) { .fd = -1, .limit = o->timeout * 1000 };
	if (o->ps_socket >= 0)
		return take_inherited(o, p) ?: begin_tls(o, p, true);
	do
		p->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (p->fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (p->fd < 0)
		return log_errno(-errno, "accept4 on %s", address_of(o));
	send_at_once(p->fd);
	return begin_tls(o, p, true);
}

void page_peer_keep_alive(const struct page_peer *p)
{
	const int on = 1, first = (int)MAX(p->limit / 1000, 1U), tries = 3;

	/* A unix socket has none of these, and its peer is on this host. */
	if (!setsockopt(p->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)) &&
	    !setsockopt(p->fd, IPPROTO_TCP, TCP_KEEPIDLE, &first, sizeof(first)) &&
	    !setsockopt(p->fd, IPPROTO_TCP, TCP_KEEPINTVL, &first, sizeof(first)))
		(void)!setsockopt(p->fd, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof(tries));
}

void page_peer_close(struct page_peer *p)
{
	page_tls_end(p->tls);
	p->tls = NULL;
	if (p->fd >= 0 && !p->inherited)
		close(p->fd);
	p->fd = -1;
}
