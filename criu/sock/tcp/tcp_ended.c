/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: a connection of our own over loopback is made to end as the dumped one did. Its other end is a socket of
 * ours, here called the peer.
 */
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
#include "soccr.h"
#include "uapi/inet_bits.h"
#include "uapi/tcp_info_bits.h"

/* ---- dump ---- */

/* Whether the handshake was complete: a connect() that was refused has received a single segment, the RST. */
static bool was_established(int fd)
{
	struct tcp_info_counts info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return false;
	return info.bytes_acked || info.bytes_received || info.base.tcpi_options || info.segs_in > 1;
}

/*
 * A reset behind the peer's FIN is EPIPE, not ECONNRESET, and SO_ERROR cannot tell which one waits without taking it.
 * This call knows of the FIN, and takes nothing as long as its struct is so short: -EIO where nothing is to be read,
 * else one byte more than SIOCINQ counts.
 */
static bool fin_was_received(int fd, int unread)
{
	struct tcp_zerocopy_inq z = { 0 };
	socklen_t len = TCP_ZEROCOPY_INQ_LEN;

	if (getsockopt(fd, IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, &z, &len))
		return errno == EIO;
	return unread && z.inq > (uint32_t)unread;
}

static uint32_t pending_error(int fd, const InetEndedEntry *e, bool established)
{
	int unread = (int)e->unread;

	if (e->disconnected)
		return ECONNRESET;
	if (!established)
		return ECONNREFUSED;
	return fin_was_received(fd, unread) ? EPIPE : ECONNRESET;
}

int tcp_ended_dump(struct dump *d, int fd, enum tcp_bound bound, InetSkEntry *m, const char *who)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	bool established = was_established(fd), disconnected, error;
	int unread = 0;

	if (ioctl(fd, SIOCINQ, &unread))
		return log_errno(-errno, "%s: ioctl(SIOCINQ)", who);
	/* Not as it was at the first look: it may have ended since. Only connect() to AF_UNSPEC takes the end back. */
	error = poll(&p, 1, 0) > 0 && p.revents & POLLERR;
	disconnected = !(p.revents & POLLRDHUP);
	m->state = TCP_CLOSE;
	m->has_shutdown = !disconnected;
	m->shutdown = disconnected ? SK_SHUTDOWN__NONE : SK_SHUTDOWN__BOTH;
	m->ended = NULL;
	if (!unread && !error && !(established && bound == TCP_BOUND_YES)) {
		if (bound == TCP_BOUND_NO) {
			m->src_port = 0;
			memset(m->src_addr, 0, m->n_src_addr * sizeof(*m->src_addr));
			m->ifname = NULL;
		}
		return 0;
	}
	m->ended = arena_msg(d->arena, InetEndedEntry, inet_ended_entry);
	m->ended->unread = (uint32_t)unread;
	m->ended->bound = bound == TCP_BOUND_YES;
	m->ended->has_disconnected = m->ended->disconnected = disconnected;
	if (error) {
		m->ended->error = pending_error(fd, m->ended, established);
		log_info("%s: has a pending error (SO_ERROR), which reading would clear; the restored socket gets: %s",
		         who, strerror((int)m->ended->error));
	}
	return 0;
}

InetEndedEntry *tcp_ended_instead(struct arena *a, uint32_t state, bool reset)
{
	InetEndedEntry *e = arena_msg(a, InetEndedEntry, inet_ended_entry);

	/* What the kernel reports in these states when an RST arrives. A connect() that goes on must not seem done. */
	if (state == TCP_SYN_SENT)
		e->error = ECONNREFUSED;
	else if (reset)
		e->error = soccr_fin_received((uint8_t)state) ? EPIPE : ECONNRESET;
	return e;
}

int tcp_ended_check(struct restore *r, const InetSkEntry *m, const char **why)
{
	int err = m->ended->unread ? tcp_stream_check(r, m) : 0;

	if (err)
		*why = arena_printf(r->arena, "its %u unread bytes: tcp-stream-%x.img is missing or damaged",
		                    m->ended->unread, m->ino);
	return err;
}

/* Loopback delivers within this time, however busy this machine is. */
#define LOOPBACK_MS 10000

struct ended_conn {
	int fd, listener, peer;
	union inet_addr local, at; /* the address that the socket had; that of the listener */
	const char *step;          /* what is being done, for messages */
};

/* ---- restore: addresses ---- */

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

/* The peer listens at the same address, so that the socket gets it too; where this host lacks it, at loopback's. */
static int bind_peer_listener(struct ended_conn *e)
{
	int off = 0;

	e->step = "socket of the other end";
	e->listener = socket(e->local.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (e->listener < 0)
		return -errno;
	e->step = "bind of the other end";
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

static int find_listener(struct ended_conn *e)
{
	socklen_t len = sizeof(e->at);

	return getsockname(e->listener, &e->at.any, &len) ? -errno : 0;
}

/*
 * In repair any port can be bound, also one that another socket has taken since. Repair is switched off again, since a
 * connect() in repair would send nothing.
 */
static int bind_forced(struct ended_conn *e)
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

/* The port that the socket had: bound where bind() had taken it, else only asked for at connect(). */
static int take_port(struct ended_conn *e, bool bound, const char *who)
{
	uint32_t port = inet_addr_port(&e->local), range = port << 16 | port;
	int err = 0;

	e->step = "bind";
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
	log_info("%s: the address %s of a connection that has ended is not on this host; not bound", who,
	         inet_addr_text(&e->local));
	return 0;
}

/* ---- restore: the connection ---- */

static int connect_to_peer(struct ended_conn *e)
{
	uint32_t none = 0;
	int err = 0;

	e->step = "connect over loopback";
	if (connect(e->fd, &e->at.any, inet_addr_len(&e->at)) && errno != EINPROGRESS)
		err = -errno;
	if (err == -EADDRNOTAVAIL) { /* the port is not free: any other */
		setsockopt(e->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &none, sizeof(none));
		err = connect(e->fd, &e->at.any, inet_addr_len(&e->at)) && errno != EINPROGRESS ? -errno : 0;
	}
	setsockopt(e->fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &none, sizeof(none));
	return err;
}

static int wait_for_poll(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };
	int n = poll(&p, 1, LOOPBACK_MS);

	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

/* Any process of this host could connect to the listener: only our own connection is taken. */
static int accept_own(struct ended_conn *e)
{
	union inet_addr ours, theirs;
	socklen_t len = sizeof(ours);
	int err = 0;

	e->step = "accept4";
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
			err = wait_for_poll(e->listener, POLLIN);
		else if (errno != EINTR && errno != ECONNABORTED)
			err = -errno;
	}
	return err;
}

static int wait_until_received(int fd, uint32_t want)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	int n = 0;

	for (int i = 0; i < LOOPBACK_MS * 10; i++) {
		if (ioctl(fd, SIOCINQ, &n))
			return -errno;
		if ((uint32_t)n >= want)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

static int send_unread(struct ended_conn *e, const char *bytes, uint32_t len)
{
	uint32_t left = len;
	int err = 0;

	e->step = "send of the bytes that were not read";
	while (!err && left) {
		ssize_t n = send(e->peer, bytes + (len - left), left, MSG_NOSIGNAL);

		if (n > 0)
			left -= (uint32_t)n;
		else if (errno == EAGAIN)
			err = wait_for_poll(e->peer, POLLOUT);
		else if (errno != EINTR)
			err = -errno;
	}
	return err ?: wait_until_received(e->fd, len);
}

/* Ended by the peer: a FIN first where no error or EPIPE is wanted, then a reset. */
static int end_by_peer(struct ended_conn *e, int error)
{
	struct linger none = { .l_onoff = 1 };
	socklen_t len = sizeof(error);
	int err = 0;

	e->step = "closing the other end";
	if (error != ECONNRESET) {
		err = shutdown(e->peer, SHUT_WR) ? -errno : 0;
		err = err ?: wait_for_poll(e->fd, POLLRDHUP);
	}
	if (!err && setsockopt(e->peer, SOL_SOCKET, SO_LINGER, &none, sizeof(none)))
		err = -errno;
	close(move_fd(&e->peer));
	err = err ?: wait_for_poll(e->fd, 0); /* POLLHUP */
	/* No error is pending: getsockopt() clears it. */
	if (!err && !error && getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &error, &len))
		err = -errno;
	return err;
}

/* The receive buffer has to hold all unread bytes; the dumped size is set afterwards. */
static void enlarge_buffer(int fd, uint32_t len)
{
	int size = len > INT32_MAX / 4 - 65536 ? INT32_MAX / 2 : (int)(2 * len + 65536);

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* Ended by the socket itself: connect() to AF_UNSPEC leaves ECONNRESET, and shuts nothing down. */
static int disconnect_own(struct ended_conn *e)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	e->step = "connect to AF_UNSPEC";
	return connect(e->fd, &none, sizeof(none)) ? -errno : 0;
}

static int connect_and_end(struct ended_conn *e, const InetEndedEntry *m, const char *unread)
{
	int err = connect_to_peer(e);

	if (m->error == ECONNREFUSED)
		return err ?: wait_for_poll(e->fd, 0); /* no socket listens: POLLERR */
	err = err ?: accept_own(e);
	if (!err && m->disconnected)
		return disconnect_own(e);
	if (!err && m->unread)
		err = send_unread(e, unread, m->unread);
	return err ?: end_by_peer(e, (int)m->error);
}

int tcp_ended_make(struct restore *r, int fd, const InetSkEntry *m, const InetEndedEntry *e, const char *who,
                   const char **why)
{
	_cleanup_free_ char *unread = NULL;
	struct ended_conn s = { .fd = fd, .listener = -1, .peer = -1, .step = "address in the image" };
	int err = inet_addr_from_words((int)m->family, m->src_addr, m->n_src_addr, m->src_port, m->ifname, &s.local);

	if (!err && e->unread) {
		err = tcp_stream_read_unread(r, m, &unread);
		enlarge_buffer(fd, e->unread);
	}
	err = err ?: bind_peer_listener(&s);
	if (!err && e->error != ECONNREFUSED)
		err = listen(s.listener, 16) ? -errno : 0;
	err = err ?: find_listener(&s);
	err = err ?: take_port(&s, e->bound, who);
	if (!err && fcntl(fd, F_SETFL, O_NONBLOCK))
		err = -errno;
	err = err ?: connect_and_end(&s, e, unread);
	if (s.listener >= 0)
		close(s.listener);
	if (s.peer >= 0)
		close(s.peer);
	*why = arena_printf(r->arena, "%s: %s (over loopback; is lo up, and does a firewall let it through?)", s.step,
	                    strerror(-err));
	return err;
}
