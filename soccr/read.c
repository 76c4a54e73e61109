/* SPDX-License-Identifier: LGPL-2.1-only */
/* Reads a connection out of its socket. */
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "inner.h"

bool soccr_fin_sent(uint8_t state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING || state == TCP_LAST_ACK;
}

bool soccr_fin_received(uint8_t state)
{
	return state == TCP_CLOSE_WAIT || state == TCP_LAST_ACK || state == TCP_CLOSING;
}

int soccr_look(int fd, struct soccr_conn *c)
{
	int reuse = 0, err = GET(c, fd, SOL_SOCKET, SO_REUSEADDR, reuse);

	c->reuseaddr = reuse;
	if (GET(c, fd, SOL_SOCKET, SO_PEEK_OFF, c->peek_off)) /* no TCP socket has it before 6.9 */
		c->peek_off = -1;
	return err;
}

int soccr_pause(int fd, struct soccr_conn *c)
{
	int err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_ON);

	if (!err && c->peek_off >= 0)
		err = SET_INT(c, fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	return err;
}

int soccr_resume(int fd, const struct soccr_conn *c)
{
	struct soccr_conn scratch = { 0 };
	int err = 0;

	if (c->peek_off >= 0 || c->peek_moved)
		err = SET_INT(&scratch, fd, SOL_SOCKET, SO_PEEK_OFF, c->peek_off);
	if (c->peek_off < 0) /* no TCP socket has it before 6.9 */
		err = 0;
	if (SET_INT(&scratch, fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF_NO_WP)) {
		int part = SET_INT(&scratch, fd, IPPROTO_TCP, TCP_REPAIR, REPAIR_OFF); /* before 4.20 */

		err = err ? err : part;
	}
	if (c->reuseaddr) {
		int part = SET_INT(&scratch, fd, SOL_SOCKET, SO_REUSEADDR, 1);

		err = err ? err : part;
	}
	return err;
}

/* One of these changes with each packet that arrives or leaves, and when the socket ends. */
static bool same_counts(const struct longer_info *a, const struct longer_info *b)
{
	return a->tcp.tcpi_state == b->tcp.tcpi_state && a->segs_in == b->segs_in && a->segs_out == b->segs_out &&
	       a->notsent_bytes == b->notsent_bytes;
}

static int get_info(int fd, struct soccr_conn *c, struct longer_info *i)
{
	memset(i, 0, sizeof(*i));
	return GET(c, fd, IPPROTO_TCP, TCP_INFO, *i);
}

static int read_info(int fd, struct soccr_conn *c, struct longer_info *i)
{
	int mss = 0, err = get_info(fd, c, i);

	if (err)
		return err;
	c->state = i->tcp.tcpi_state;
	c->options = i->tcp.tcpi_options;
	c->snd_wscale = i->tcp.tcpi_snd_wscale;
	c->rcv_wscale = i->tcp.tcpi_rcv_wscale;
	/* In repair it is the peer's limit, not the current one (net/ipv4/tcp.c). */
	err = GET(c, fd, IPPROTO_TCP, TCP_MAXSEG, mss);
	c->mss_clamp = (uint32_t)mss;
	if (!err && (c->options & TCPI_OPT_TIMESTAMPS))
		err = GET(c, fd, IPPROTO_TCP, TCP_TIMESTAMP, c->timestamp);
	return err;
}

static int read_window(int fd, struct soccr_conn *c)
{
	int err = GET(c, fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, c->window);

	c->has_window = !err;
	return err == -ENOPROTOOPT ? 0 : err; /* before 4.8 */
}

static int read_addresses(int fd, struct soccr_conn *c)
{
	socklen_t len = sizeof(c->local);

	if (c->local.any.sa_family)
		return 0;
	c->step = "getsockname";
	if (getsockname(fd, &c->local.any, &len))
		return -errno;
	len = sizeof(c->remote);
	c->step = "getpeername";
	/* In these states the kernel does not tell the peer; the caller may know. */
	if (getpeername(fd, &c->remote.any, &len))
		return errno == ENOTCONN && (c->state == TCP_CLOSE || c->state == TCP_SYN_SENT) ? 0 : -errno;
	return 0;
}

static int read_lengths(int fd, struct soccr_conn *c, const struct longer_info *i)
{
	bool fin = c->state == TCP_FIN_WAIT1 || c->state == TCP_CLOSING || c->state == TCP_LAST_ACK;
	int in = 0, out = 0;

	c->step = "SIOCINQ";
	if (ioctl(fd, SIOCINQ, &in))
		return -errno;
	c->step = "SIOCOUTQ";
	if (c->state == TCP_SYN_SENT)
		return 0; /* all that is unacknowledged is its SYN */
	c->inq_len = (uint32_t)in;
	if (c->state == TCP_CLOSE)
		return 0; /* what was not sent is gone, but still counted */
	if (ioctl(fd, SIOCOUTQ, &out))
		return -errno;
	/* A FIN that waits for its acknowledgement counts as one byte, the last. */
	c->outq_len = (uint32_t)out - (fin && out);
	c->unsq_len = i->notsent_bytes - (fin && i->notsent_bytes);
	return 0;
}

/* From here on recv(MSG_PEEK) reads this queue. */
static int choose_queue(int fd, int queue, uint32_t *seq, struct soccr_conn *c)
{
	int err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue);

	return err ? err : GET(c, fd, IPPROTO_TCP, TCP_QUEUE_SEQ, *seq);
}

static int read_queue(int fd, int queue, uint32_t len, void **bytes, struct soccr_conn *c)
{
	ssize_t n;

	if (!len)
		return 0;
	c->step = "malloc for a queue";
	*bytes = malloc(len);
	if (!*bytes)
		return -ENOMEM;
	c->step = queue == TCP_RECV_QUEUE ? "recv(MSG_PEEK) of the receive queue" : "recv(MSG_PEEK) of the send queue";
	n = recv(fd, *bytes, len, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	return (uint32_t)n == len ? 0 : -EAGAIN;
}

/*
 * SIOCINQ does not count what follows an urgent byte that was read already. Before 6.9, without SO_PEEK_OFF, that
 * cannot be found out. The receive queue is chosen.
 */
static bool has_more(int fd, struct soccr_conn *c)
{
	int off = (int)c->inq_len;
	char byte;

	/* On a connection that has ended, a read past the end would clear its error. */
	if (c->state == TCP_CLOSE || setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof(off)))
		return false;
	c->peek_moved = true; /* until soccr_resume() */
	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static bool has_urgent(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLPRI };
	char byte;

	if (recv(fd, &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) == 1)
		return true;
	/* Announced but not received yet; or received when the connection ended. */
	if (errno == EAGAIN || errno == ENOTCONN)
		return true;
	/* SO_OOBINLINE */
	return poll(&p, 1, 0) > 0 && p.revents & POLLPRI;
}

static int read_all(int fd, struct soccr_conn *c, struct longer_info *i)
{
	int err = read_info(fd, c, i);

	if (!err && c->peek_moved)
		err = SET_INT(c, fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	if (!err)
		err = read_addresses(fd, c);
	if (!err)
		err = read_lengths(fd, c, i);
	if (!err)
		err = read_window(fd, c);
	if (!err)
		err = choose_queue(fd, TCP_RECV_QUEUE, &c->inq_seq, c);
	c->step = err ? c->step : "urgent data";
	if (!err && c->state != TCP_SYN_SENT && has_urgent(fd))
		err = -ENODATA;
	if (!err)
		err = read_queue(fd, TCP_RECV_QUEUE, c->inq_len, &c->inq, c);
	if (!err && c->state != TCP_SYN_SENT && has_more(fd, c)) {
		c->step = "urgent data";
		err = -ENODATA;
	}
	if (!err)
		err = choose_queue(fd, TCP_SEND_QUEUE, &c->outq_seq, c);
	if (!err)
		err = read_queue(fd, TCP_SEND_QUEUE, c->outq_len, &c->outq, c);
	return err;
}

/*
 * A packet that was under way when the caller began to keep packets away may have arrived during the read. One that
 * arrives later is not lost either: no acknowledgement leaves, so the peer sends it again.
 */
static int check_unchanged(int fd, struct soccr_conn *c, const struct longer_info *before)
{
	struct soccr_conn scratch = { 0 };
	struct longer_info now;
	int err = get_info(fd, &scratch, &now);

	if (err || !same_counts(&now, before))
		c->step = err ? scratch.step : "packets still come in";
	return err ? err : same_counts(&now, before) ? 0 : -EAGAIN;
}

int soccr_read(int fd, struct soccr_conn *c)
{
	struct longer_info i;
	int err = read_all(fd, c, &i), changed;

	/* These errors may only be the effect of a change during the read. */
	if (!err || err == -ENODATA || err == -EAGAIN) {
		changed = check_unchanged(fd, c, &i);
		err = changed ? changed : err;
	}
	if (!err)
		err = SET_INT(c, fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, TCP_NO_QUEUE);
	return err;
}

void soccr_free(struct soccr_conn *c)
{
	free(c->inq);
	free(c->outq);
	c->inq = c->outq = NULL;
}
