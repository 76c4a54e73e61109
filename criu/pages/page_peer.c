/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * No call waits by itself: an inherited socket may be somebody else's too, so its flags are left alone. A peer that
 * goes on slowly is waited for, as long as each part of some size comes within the limit.
 */
#include "pages/page_peer.h"

#include <poll.h>
#include <sys/socket.h>

#include "lib/clock.h"
#include "pages/page_tls.h"

#define PART (64UL << 10) /* bytes for which the clock starts anew */

struct wait {
	int fd;
	short events;
	uint64_t limit_us, until;
	size_t since; /* bytes that have gone since the clock started */
};

static void start_clock(struct wait *w)
{
	w->until = clock_now_us() + w->limit_us;
	w->since = 0;
}

static void note_progress(struct wait *w, size_t n)
{
	w->since += n;
	if (w->since >= PART)
		start_clock(w);
}

static int wait_for_peer(const struct wait *w)
{
	struct pollfd p = { .fd = w->fd, .events = w->events };
	uint64_t now = clock_now_us();

	if (now >= w->until)
		return -ETIMEDOUT;
	return poll(&p, 1, (int)MIN((w->until - now) / 1000 + 1, INT32_MAX)) < 0 && errno != EINTR ? -errno : 0;
}

static bool has_to_wait(ssize_t n)
{
	return n == -EAGAIN || n == -EINTR;
}

/* Bytes, or a negative errno, without waiting. */
static ssize_t receive_some(const struct page_peer *p, void *buf, size_t len)
{
	ssize_t n = p->tls ? page_tls_receive(p->tls, buf, len) : recv(p->fd, buf, len, MSG_DONTWAIT);

	return n < 0 && !p->tls ? -errno : n;
}

static ssize_t send_some(const struct page_peer *p, const struct msghdr *m)
{
	ssize_t n;

	if (p->tls)
		return page_tls_send(p->tls, m->msg_iov->iov_base, m->msg_iov->iov_len);
	n = sendmsg(p->fd, m, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

int page_peer_receive(const struct page_peer *p, void *buf, size_t len, unsigned patience)
{
	struct wait w = { p->fd, POLLIN, (uint64_t)p->limit * patience * 1000, 0, 0 };
	size_t got = 0;
	int err = 0;

	start_clock(&w);
	while (!err && got < len) {
		ssize_t n = receive_some(p, (uint8_t *)buf + got, len - got);

		if (has_to_wait(n)) {
			err = wait_for_peer(&w);
		} else if (n <= 0) {
			err = n < 0 ? (int)n : got ? -EPIPE : -ENODATA;
		} else {
			if (!got) {
				w.limit_us = (uint64_t)p->limit * 1000;
				start_clock(&w);
			}
			got += (size_t)n;
			note_progress(&w, (size_t)n);
		}
	}
	return err;
}

/* What has gone of the list is taken off. */
static void use_up(struct msghdr *m, size_t n)
{
	while (m->msg_iovlen && n >= m->msg_iov->iov_len) {
		n -= m->msg_iov->iov_len;
		m->msg_iov++;
		m->msg_iovlen--;
	}
	if (!m->msg_iovlen)
		return;
	m->msg_iov->iov_base = (uint8_t *)m->msg_iov->iov_base + n;
	m->msg_iov->iov_len -= n;
}

int page_peer_send(const struct page_peer *p, struct iovec *list, size_t n)
{
	struct wait w = { p->fd, POLLOUT, (uint64_t)p->limit * 1000, 0, 0 };
	struct msghdr m = { .msg_iov = list, .msg_iovlen = n };
	int err = 0;

	start_clock(&w);
	while (!err && m.msg_iovlen) {
		ssize_t sent = send_some(p, &m);

		if (has_to_wait(sent)) {
			err = wait_for_peer(&w);
		} else if (sent < 0) {
			err = (int)sent;
		} else {
			note_progress(&w, (size_t)sent);
			use_up(&m, (size_t)sent);
		}
	}
	return err;
}
