/* SPDX-License-Identifier: GPL-2.0-only */
/* A connection of our own over loopback, which ends as another one did. */
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lib/log.h"
#include "sock/inet_addr.h"
#include "sock/tcp/tcp_ended.h"
#include "sock/tcp/tcp_stream.h"
#include "uapi/inet_bits.h"

/* Until then loopback has brought what it is to bring, whatever else this machine does. */
#define PATIENCE_MS 10000

struct ended {
	int fd, listener, peer;
	union inet_addr local, at; /* the socket's name before; where the listener is */
	const char *step;          /* what failed */
};

/* ---- names ---- */

static void loopback_of(const union inet_addr *like, union inet_addr *n)
{
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff, 127, 0, 0, 1 };

	memset(n, 0, sizeof(*n));
	n->any.sa_family = like->any.sa_family;
	if (n->any.sa_family == AF_INET)
		n->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (IN6_IS_ADDR_V4MAPPED(&like->v6.sin6_addr))
		memcpy(&n->v6.sin6_addr, mapped, sizeof(mapped));
	else
		n->v6.sin6_addr = in6addr_loopback;
}

/* Our end: at the same address, so that the socket gets it too; at loopback's where this host does not have it. */
static int bind_listener(struct ended *e)
{
	int off = 0;

	e->step = "a socket to connect it to";
	e->listener = socket(e->local.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (e->listener < 0)
		return -errno;
	if (e->at.any.sa_family == AF_INET6)
		setsockopt(e->listener, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	e->at = e->local;
	inet_addr_set_port(&e->at, 0);
	if (inet_addr_is_any(&e->at) || bind(e->listener, &e->at.any, inet_addr_len(&e->at))) {
		loopback_of(&e->local, &e->at);
		if (bind(e->listener, &e->at.any, inet_addr_len(&e->at)))
			return -errno;
	}
	return 0;
}

static int find_listener(struct ended *e)
{
	socklen_t len = sizeof(e->at);

	return getsockname(e->listener, &e->at.any, &len) ? -errno : 0;
}

/* In repair any port can be bound, also one that somebody took meanwhile. It is switched off again: this one connects.
 */
static int bind_forced(struct ended *e)
{
	int on = 1, off = 0, reuse = 0, err;
	socklen_t len = sizeof(reuse);

	getsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, &len);
	if (setsockopt(e->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)))
		return -errno;
	err = bind(e->fd, &e->local.any, inet_addr_len(&e->local)) ? -errno : 0;
	setsockopt(e->fd, IPPROTO_TCP, TCP_REPAIR, &off, sizeof(off));
	setsockopt(e->fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse));
	return err;
}

/* The port that it had: held, where bind() had taken it, else only the one that connect() finds. */
static int take_port(struct ended *e, bool bound, const char *who)
{
	uint32_t port = inet_addr_port(&e->local), range = port << 16 | port;
	int err = 0;

	e->step = "binding it";
	if (!port)
		return 0;
	if (!bound) {
		setsockopt(e->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range, sizeof(range));
		return 0;
	}
	if (bind(e->fd, &e->local.any, inet_addr_len(&e->local)))
		err = errno == EADDRINUSE ? bind_forced(e) : -errno;
	if (err != -EADDRNOTAVAIL)
		return err;
	log_info("%s: its connection has ended and its address %s is not on this host: it is not bound", who,
	         inet_addr_text(&e->local));
	return 0;
}

/* ---- the connection ---- */

static int connect_it(struct ended *e)
{
	uint32_t none = 0;
	int err = 0;

	e->step = "connecting it over loopback";
	if (connect(e->fd, &e->at.any, inet_addr_len(&e->at)) && errno != EINPROGRESS)
		err = -errno;
	if (err == -EADDRNOTAVAIL) { /* the port is not free: any other */
		setsockopt(e->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &none, sizeof(none));
		err = connect(e->fd, &e->at.any, inet_addr_len(&e->at)) && errno != EINPROGRESS ? -errno : 0;
	}
	setsockopt(e->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &none, sizeof(none));
	return err;
}

static int wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, PATIENCE_MS);

	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

/* Anybody could connect to a listener of ours. */
static int accept_it(struct ended *e)
{
	union inet_addr ours, theirs;
	socklen_t len = sizeof(ours);
	int err = 0;

	e->step = "accepting it";
	if (getsockname(e->fd, &ours.any, &len))
		return -errno;
	while (!err) {
		len = sizeof(theirs);
		e->peer = accept4(e->listener, &theirs.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (e->peer >= 0 && inet_addr_equal(&ours, &theirs))
			return 0;
		if (e->peer >= 0)
			close(e->peer);
		else if (errno == EAGAIN)
			err = wait_for(e->listener, POLLIN);
		else if (errno != EINTR && errno != ECONNABORTED)
			err = -errno;
	}
	return err;
}

static int arrived(int fd, uint32_t want)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	int n = 0;

	for (int i = 0; i < PATIENCE_MS * 10; i++) {
		if (ioctl(fd, SIOCINQ, &n))
			return -errno;
		if ((uint32_t)n >= want)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static int bring(struct ended *e, const char *bytes, uint32_t len)
{
	uint32_t left = len;
	int err = 0;

	e->step = "putting what it has not read";
	while (!err && left) {
		ssize_t n = send(e->peer, bytes + (len - left), left, MSG_NOSIGNAL);

		if (n > 0)
			left -= (uint32_t)n;
		else if (errno == EAGAIN)
			err = wait_for(e->peer, POLLOUT);
		else if (errno != EINTR)
			err = -errno;
	}
	return err ?: arrived(e->fd, len);
}

/* By its peer: a FIN first where nothing or EPIPE is to be told, and a reset. */
static int end(struct ended *e, int error)
{
	struct linger none = { .l_onoff = 1 };
	socklen_t len = sizeof(error);
	int err = 0;

	e->step = "ending it";
	if (error != ECONNRESET) {
		err = shutdown(e->peer, SHUT_WR) ? -errno : 0;
		err = err ?: wait_for(e->fd, POLLRDHUP);
	}
	if (!err && setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &none, sizeof(none)))
		err = -errno;
	close(move_fd(&e->peer));
	err = err ?: wait_for(e->fd, 0); /* POLLHUP */
	/* Told already. */
	if (!err && !error && getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &len))
		err = -errno;
	return err;
}

/* Its buffer has to hold it without a reader; sizes are set afterwards. */
static void make_room(int fd, uint32_t len)
{
	int size = len > INT32_MAX / 4 - 65536 ? INT32_MAX / 2 : (int)(2 * len + 65536);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

static int live_and_die(struct ended *e, const InetEndedEntry *m, const char *unread)
{
	int err = connect_it(e);

	if (m->error == ECONNREFUSED)
		return err ?: wait_for(e->fd, 0); /* nobody listens: POLLERR */
	err = err ?: accept_it(e);
	if (!err && m->unread)
		err = bring(e, unread, m->unread);
	return err ?: end(e, (int)m->error);
}

int tcp_ended_make(struct restore *r, int fd, const InetSkEntry *m, const InetEndedEntry *e, const char *who,
                   const char **why)
{
	_cleanup_free_ char *unread = NULL;
	struct ended s = { .fd = fd, .listener = -1, .peer = -1, .step = "its address" };
	int err = inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &s.local);

	if (!err && e->unread) {
		err = tcp_stream_unread(r, m, &unread);
		make_room(fd, e->unread);
	}
	err = err ?: bind_listener(&s);
	if (!err && e->error != ECONNREFUSED)
		err = listen(s.listener, 16) ? -errno : 0;
	err = err ?: find_listener(&s);
	err = err ?: take_port(&s, e->bound, who);
	if (!err && fcntl(fd, F_SETFL, O_NONBLOCK))
		err = -errno;
	err = err ?: live_and_die(&s, e, unread);
	if (s.listener >= 0)
		close(s.listener);
	if (s.peer >= 0)
		close(s.peer);
	*why = arena_printf(r->arena, "%s: %s (over loopback; is lo up, and does a firewall let it through?)", s.step,
	                    strerror(-err));
	return err;
}
