/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/tcp/tcp_stream.h"
#include "sock/tcp/tcp_tuple.h"
#include "tcp-stream.pb-c.h"
#include "tree/subsys.h"

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

/* ---- what was read for the check, kept where it is little ---- */

#define KEEP_EACH (16UL << 10)
#define KEEP_ALL  (64UL << 20)

struct stream {
	uint32_t ino;
	const TcpStreamEntry *e;
	const void *inq, *outq;
	UT_hash_handle hh;
};

struct tcp_streams {
	struct stream *by_ino;
	size_t kept; /* bytes */
};

const struct subsys tcp_stream_subsys = { .name = "queues of TCP connections",
	                                  .state = { .restore = sizeof(struct tcp_streams) } };

static struct tcp_streams *tcp_streams_of(struct restore *r)
{
	return restore_state(r, &tcp_stream_subsys);
}

static const struct stream *find(struct restore *r, uint32_t ino)
{
	struct stream *s = NULL;

	HASH_FIND(hh, tcp_streams_of(r)->by_ino, &ino, sizeof(ino), s);
	return s;
}

static int keep(struct restore *r, uint32_t ino, struct image *img, const TcpStreamEntry *e)
{
	size_t len = (size_t)e->inq_len + e->outq_len;
	struct stream *s;
	char *bytes;
	int err;

	if (len > KEEP_EACH || tcp_streams_of(r)->kept + len > KEEP_ALL || find(r, ino))
		return 0;
	s = arena_new_of(r->arena, struct stream);
	bytes = arena_alloc(r->arena, len);
	*s = (struct stream) { .ino = ino, .e = e, .inq = bytes, .outq = bytes + e->inq_len };
	err = image_read_raw(img, bytes, len);
	if (err)
		return err;
	tcp_streams_of(r)->kept += len;
	HASH_ADD_IN(r->arena, hh, tcp_streams_of(r)->by_ino, ino, sizeof(s->ino), s);
	return 0;
}

int tcp_stream_check(struct restore *r, const InetSkEntry *m)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err = open_stream(r, m, &img, &e);

	if (!err && m->ended)
		return e->inq_len != m->ended->unread ? -EBADMSG : 0;
	return err ?: keep(r, m->ino, img, e);
}

/* ---- reading ---- */

/* All but what is in the queues. */
static int fill(const InetSkEntry *m, const TcpStreamEntry *e, struct soccr_conn *c)
{
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
	c->inq = malloc(e->inq_len + 1UL);
	c->outq = malloc(e->outq_len + 1UL);
	if (!c->inq || !c->outq)
		return -ENOMEM;
	return tcp_addresses_of(m, &c->local, &c->remote);
}

int tcp_stream_read(struct restore *r, const InetSkEntry *m, struct soccr_conn *c)
{
	const struct stream *s = find(r, m->ino);
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err;

	if (s) {
		err = fill(m, s->e, c);
		if (!err) {
			memcpy(c->inq, s->inq, c->inq_len);
			memcpy(c->outq, s->outq, c->outq_len);
		}
		return err;
	}
	err = open_stream(r, m, &img, &e);
	if (err)
		return log_errno(err, "tcp-stream-%x.img", m->ino);
	err = fill(m, e, c);
	err = err ?: image_read_raw(img, c->inq, e->inq_len);
	return err ?: image_read_raw(img, c->outq, e->outq_len);
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
