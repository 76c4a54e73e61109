/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "core/log.h"
#include "sock/tcp_stream.h"
#include "sock/tcp_tuple.h"
#include "tcp-stream.pb-c.h"

static int open_stream(struct restore *r, const InetSkEntry *m, struct image **img, TcpStreamEntry **ep)
{
	int err = image_open(r->dir, IMG_TCP_STREAM, m->ino, img);

	if (!err)
		err = image_read(*img, &tcp_stream_entry__descriptor, r->arena, ep);
	if (err == 0)
		err = -ENODATA;
	if (err < 0)
		return err;
	/* Queues are limited by the kernel to less than 2 GiB, and by the image to what is there. */
	if ((*ep)->inq_len > INT32_MAX || (*ep)->outq_len > INT32_MAX ||
	    (uint64_t)(*ep)->inq_len + (*ep)->outq_len > image_left(*img) || (*ep)->unsq_len > (*ep)->outq_len)
		return -EBADMSG;
	return 0;
}

int tcp_stream_check(struct restore *r, const InetSkEntry *m)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err = open_stream(r, m, &img, &e);

	return !err && m->ended && e->inq_len != m->ended->unread ? -EBADMSG : err;
}

static int read_queues(struct image *img, const TcpStreamEntry *e, struct soccr_conn *c)
{
	c->inq = malloc(e->inq_len + 1UL);
	c->outq = malloc(e->outq_len + 1UL);
	if (!c->inq || !c->outq)
		return -ENOMEM;
	return image_read_raw(img, c->inq, e->inq_len) ?: image_read_raw(img, c->outq, e->outq_len);
}

int tcp_stream_read(struct restore *r, const InetSkEntry *m, struct soccr_conn *c)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err = open_stream(r, m, &img, &e);

	if (err)
		return log_errno(err, "tcp-stream-%x.img", m->ino);
	*c = (struct soccr_conn) {
		.state = (uint8_t)m->state,
		.inq_seq = e->inq_seq,
		.inq_len = e->inq_len,
		.outq_seq = e->outq_seq,
		.outq_len = e->outq_len,
		.unsq_len = e->unsq_len,
		.options = (uint8_t)e->opt_mask,
		.snd_wscale = (uint8_t)e->snd_wscale,
		.rcv_wscale = (uint8_t)e->rcv_wscale,
		.mss_clamp = e->mss_clamp,
		.timestamp = e->timestamp,
		.has_window = e->has_snd_wnd && e->has_rcv_wnd,
		.window = { e->snd_wl1, e->snd_wnd, e->max_window, e->rcv_wnd, e->rcv_wup },
		.reuseaddr = m->opts->has_reuseaddr && m->opts->reuseaddr,
		.peek_off = -1,
	};
	return tcp_addresses_of(m, &c->local, &c->remote) ?: read_queues(img, e, c);
}

int tcp_stream_unread(struct restore *r, const InetSkEntry *m, char **bytes)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err = open_stream(r, m, &img, &e);

	if (!err && e->inq_len != m->ended->unread)
		err = -EBADMSG;
	if (err)
		return log_errno(err, "tcp-stream-%x.img", m->ino);
	*bytes = malloc(e->inq_len + 1UL);
	return *bytes ? image_read_raw(img, *bytes, e->inq_len) : -ENOMEM;
}
