/* SPDX-License-Identifier: LGPL-2.1-only */
/* Puts a connection into a new socket. */
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "inner.h"
#include "segment.h"

/* An skb costs more than its bytes; a queue of many small ones several times that. */
#define ROOM(len) ((len) > (1U << 28) ? 1U << 30 : (len)*4 + (1U << 16))

static socklen_t length_of(const union soccr_addr *a)
{
	return a->any.sa_family == AF_INET6 ? sizeof(a->v6) : sizeof(a->v4);
}

static uint32_t first_in(const struct soccr_conn *c)
{
	return c->inq_seq - soccr_fin_received(c->state) - c->inq_len;
}

static uint32_t first_out(const struct soccr_conn *c)
{
	return c->outq_seq - soccr_fin_sent(c->state) - c->outq_len;
}

static int set_seq(int fd, int queue, uint32_t seq, struct soccr_conn *c)
{
	int err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);

	return err ? err : SET(c, fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq);
}

/* Enlarges a buffer that is too small; without privilege only up to the sysctl limit. */
static void make_room(int fd, int name, int force, uint32_t wanted)
{
	int now = 0, size = (int)(wanted / 2);
	socklen_t len = sizeof(now);

	if (getsockopt(fd, SOL_SOCKET, name, &now, &len) || (uint32_t)now >= wanted)
		return;
	if (setsockopt(fd, SOL_SOCKET, force, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, name, &size, sizeof(size));
}

static int set_options(int fd, struct soccr_conn *c)
{
	struct tcp_repair_opt opts[4];
	size_t n = 0;
	int err;

	if (c->options & TCPI_OPT_SACK)
		opts[n++] = (struct tcp_repair_opt) { TCPOPT_SACK_PERMITTED, 0 };
	if (c->options & TCPI_OPT_WSCALE)
		opts[n++] = (struct tcp_repair_opt) { TCPOPT_WINDOW, c->snd_wscale | (uint32_t)c->rcv_wscale << 16 };
	if (c->options & TCPI_OPT_TIMESTAMPS)
		opts[n++] = (struct tcp_repair_opt) { TCPOPT_TIMESTAMP, 0 };
	opts[n++] = (struct tcp_repair_opt) { TCPOPT_MAXSEG, c->mss_clamp };
	c->step = "TCP_REPAIR_OPTIONS";
	err = setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, opts, (socklen_t)(n * sizeof(opts[0]))) ? -errno : 0;
	if (!err && (c->options & TCPI_OPT_TIMESTAMPS))
		err = SET(c, fd, IPPROTO_TCP, TCP_TIMESTAMP, c->timestamp);
	return err;
}

int soccr_open(int fd, struct soccr_conn *c)
{
	int err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_ON);

	make_room(fd, SO_SNDBUF, SO_SNDBUFFORCE, ROOM(c->outq_len));
	make_room(fd, SO_RCVBUF, SO_RCVBUFFORCE, ROOM(c->inq_len));
	/* A SYN takes a number too: connect() begins with the one that is set. */
	if (!err)
		err = set_seq(fd, TCP_SEND_QUEUE, first_out(c) - (c->state == TCP_SYN_SENT), c);
	/* The last, so that it is still chosen when soccr_fill() fills this queue. */
	if (!err && c->state != TCP_SYN_SENT)
		err = set_seq(fd, TCP_RECV_QUEUE, first_in(c), c);
	c->step = err ? c->step : "bind";
	return !err && bind(fd, &c->local.any, length_of(&c->local)) ? -errno : err;
}

/*
 * connect() computes the size of segments, which stays until the path changes, and does not yet know what was agreed
 * with the peer. So the agreed size is set as the user's wish (TCP_MAXSEG). Half of the peer's window is the limit.
 */
static int user_mss(const struct soccr_conn *c)
{
	uint32_t mss = c->mss_clamp, half = c->window.max_window / (c->window.max_window > 536 ? 2 : 1);

	if (c->has_window && half && mss > half)
		mss = half;
	return mss < 88 ? 88 : mss > 32767 ? 32767 : (int)mss; /* TCP_MIN_MSS, MAX_TCP_WINDOW */
}

int soccr_connect(int fd, struct soccr_conn *c)
{
	int err;

	if (c->state == TCP_SYN_SENT)
		return 0;
	err = SET_INT(c, fd, IPPROTO_TCP, TCP_MAXSEG, user_mss(c));
	if (err)
		return err;
	c->step = "connect";
	if (connect(fd, &c->remote.any, length_of(&c->remote)))
		return -errno;
	SET_INT(c, fd, IPPROTO_TCP, TCP_MAXSEG, 0);
	return set_options(fd, c);
}

/* In parts as large as the kernel takes; smaller ones when the kernel has no memory for a large one. */
static int fill_queue(int fd, const char *bytes, uint32_t len, uint32_t smallest, struct soccr_conn *c)
{
	uint32_t part = len;

	c->step = "send into a queue";
	while (len) {
		ssize_t n = send(fd, bytes, part < len ? part : len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			bytes += n;
			len -= (uint32_t)n;
			continue;
		}
		if (n < 0 && errno != ENOMEM && errno != EAGAIN && errno != ENOBUFS)
			return -errno;
		if (part <= smallest)
			return n < 0 ? -errno : -EIO;
		part = (part < len ? part : len) / 2;
	}
	return 0;
}

/*
 * The peer's FIN is put in later, so the window is counted from where the socket is now, and ends where it did: the
 * peer may use all that was offered (RFC 9293, 3.8.6: a window is not taken back).
 */
static struct soccr_window window_before_fin(const struct soccr_conn *c)
{
	struct soccr_window w = c->window;
	uint32_t now = c->inq_seq - soccr_fin_received(c->state), ahead = w.rcv_wup - now;

	if ((int32_t)ahead > 0) {
		w.rcv_wup -= ahead;
		w.rcv_wnd += ahead;
	}
	/* The FIN needs room in the window. */
	if (soccr_fin_received(c->state) && (int32_t)(w.rcv_wup + w.rcv_wnd - c->inq_seq) < 0)
		w.rcv_wnd = c->inq_seq - w.rcv_wup;
	return w;
}

int soccr_fill(int fd, struct soccr_conn *c)
{
	struct soccr_window window = window_before_fin(c);
	uint32_t sent = c->outq_len - c->unsq_len;
	int err;

	if (c->state == TCP_SYN_SENT)
		return 0;
	err = fill_queue(fd, c->inq, c->inq_len, 1024, c);
	/* Where FINs are to come, it is chosen when they do (soccr_close_sides()). */
	if (!err && (sent || c->state != TCP_ESTABLISHED))
		err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_SEND_QUEUE);
	if (!err)
		err = fill_queue(fd, c->outq, sent, 1024, c);
	if (!err && c->has_window)
		err = SET(c, fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, window);
	return err;
}

/* ---- ends ---- */

static int state_of(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? -1 : info.tcpi_state;
}

/* An injected segment goes through a softirq: it arrives at once, or when that processor has time. */
static int wait_left(int fd, int state)
{
	const struct timespec pause = { .tv_nsec = 100000 };

	for (int i = 0; i < 20000; i++) {
		if (state_of(fd) != state)
			return 0;
		nanosleep(&pause, NULL);
	}
	return -ETIMEDOUT;
}

/* A segment as if from the peer, which acknowledges up to ack and makes the socket change its state. */
static int inject_from_peer(int fd, struct soccr_conn *c, uint8_t flags, uint32_t ack, uint32_t mark)
{
	uint32_t window =
	    c->has_window ? c->window.snd_wnd >> (c->options & TCPI_OPT_WSCALE ? c->snd_wscale : 0) : 1024;
	struct soccr_segment s = {
		.from = &c->remote,
		.to = &c->local,
		.seq = c->inq_seq - (flags & TH_FIN ? 1 : 0),
		.ack = ack,
		.window = window > UINT16_MAX ? UINT16_MAX : (uint16_t)window,
		.flags = flags,
	};
	int before = state_of(fd), err;

	c->step = flags & TH_FIN ? "sending the peer's FIN" : "sending the peer's ACK";
	err = soccr_inject(&s, mark);
	return err ? err : wait_left(fd, before);
}

static int shut_sending(int fd, struct soccr_conn *c)
{
	c->step = "shutdown";
	return shutdown(fd, SHUT_WR) ? -errno : 0;
}

int soccr_close_sides(int fd, struct soccr_conn *c, uint32_t mark)
{
	int err = 0;

	if (c->state == TCP_CLOSE_WAIT || c->state == TCP_LAST_ACK)
		err = inject_from_peer(fd, c, TH_FIN | TH_ACK, first_out(c), mark);
	/* In repair, with the send queue chosen, a FIN counts as sent and goes nowhere. */
	if (!err && soccr_fin_sent(c->state) && !c->unsq_len)
		err = shut_sending(fd, c);
	if (!err && c->state == TCP_FIN_WAIT2)
		err = inject_from_peer(fd, c, TH_ACK, c->outq_seq, mark);
	if (!err && c->state == TCP_CLOSING && !c->unsq_len)
		err = inject_from_peer(fd, c, TH_FIN | TH_ACK, first_out(c), mark);
	if (!err && c->state != TCP_SYN_SENT)
		err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
	return err;
}

static int connect_again(int fd, struct soccr_conn *c)
{
	int flags = fcntl(fd, F_GETFL), err = 0;

	c->step = "connect";
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return -errno;
	if (connect(fd, &c->remote.any, length_of(&c->remote)) && errno != EINPROGRESS)
		err = -errno;
	if (fcntl(fd, F_SETFL, flags) && !err)
		err = -errno;
	return err;
}

int soccr_release(int fd, struct soccr_conn *c)
{
	c->step = "leaving TCP_REPAIR";
	return soccr_resume(fd, c);
}

int soccr_go_on(int fd, struct soccr_conn *c, uint32_t mark)
{
	const char *unsent = (const char *)c->outq + c->outq_len - c->unsq_len;
	int err = 0;

	if (c->state == TCP_SYN_SENT)
		return connect_again(fd, c);
	if (c->unsq_len)
		err = fill_queue(fd, unsent, c->unsq_len, 1, c);
	if (!err && c->unsq_len && soccr_fin_sent(c->state)) {
		err = shut_sending(fd, c);
		if (!err && c->state == TCP_CLOSING)
			err = inject_from_peer(fd, c, TH_FIN | TH_ACK, first_out(c), mark);
	}
	return err;
}

void soccr_push(int fd, const struct soccr_conn *c)
{
	int on = 1, off = 0, cork = 0;
	socklen_t len = sizeof(cork);

	if (!c->unsq_len || getsockopt(fd, IPPROTO_TCP, TCP_CORK, &cork, &len) || cork)
		return;
	if (!setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on)))
		setsockopt(fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
}
