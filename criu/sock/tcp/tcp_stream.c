/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>

#include "lib/log.h"
#include "lib/arena_hash.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_stream.h"
#include "tcp-stream.pb-c.h"
#include "tree/subsys.h"

/* ---- dump ---- */

int tcp_stream_write(struct dump *d, const InetSkEntry *m, const struct soccr_conn *c)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry e = TCP_STREAM_ENTRY__INIT;
	const TcpOptsEntry *o = m->tcp_opts;
	int err = image_create(d->dir, IMG_TCP_STREAM, m->ino, &img);

	e.inq_len = c->inq_len;
	e.inq_seq = c->inq_seq;
	e.outq_len = c->outq_len;
	e.outq_seq = c->outq_seq;
	e.has_unsq_len = true;
	e.unsq_len = c->unsq_len;
	e.opt_mask = c->options;
	e.snd_wscale = c->snd_wscale;
	e.has_rcv_wscale = true;
	e.rcv_wscale = c->rcv_wscale;
	e.mss_clamp = c->mss_clamp;
	e.has_timestamp = c->options & TCPI_OPT_TIMESTAMPS;
	e.timestamp = c->timestamp;
	e.has_cork = e.has_nodelay = true;
	e.cork = o && o->cork;
	e.nodelay = o && o->nodelay;
	e.has_snd_wl1 = e.has_snd_wnd = e.has_max_window = e.has_rcv_wnd = e.has_rcv_wup = c->has_window;
	e.snd_wl1 = c->window.snd_wl1;
	e.snd_wnd = c->window.snd_wnd;
	e.max_window = c->window.max_window;
	e.rcv_wnd = c->window.rcv_wnd;
	e.rcv_wup = c->window.rcv_wup;
	if (!err)
		err = image_write(img, &e);
	if (!err)
		err = image_write_raw(img, c->inq, c->inq_len);
	if (!err)
		err = image_write_raw(img, c->outq, c->outq_len);
	return err ?: image_close(move_ptr(img));
}

/* ---- restore: opening an image ---- */

static int open_stream_image(struct restore *r, const InetSkEntry *m, struct image **img, TcpStreamEntry **ep)
{
	int err = image_open(r->dir, IMG_TCP_STREAM, m->ino, img);

	if (!err)
		err = image_read(*img, &tcp_stream_entry__descriptor, r->arena, ep);
	if (err == 0)
		err = -ENODATA;
	if (err < 0)
		return err;
	/* The kernel limits queues to less than 2 GiB; the image cannot hold more than its own size. */
	if ((*ep)->inq_len > INT32_MAX || (*ep)->outq_len > INT32_MAX ||
	    (uint64_t)(*ep)->inq_len + (*ep)->outq_len > image_left(*img) || (*ep)->unsq_len > (*ep)->outq_len)
		return -EBADMSG;
	return 0;
}

/* ---- small queues, kept in memory from the check to the restore, so that an image is opened once ---- */

#define KEEP_EACH (16UL << 10)
#define KEEP_ALL  (64UL << 20)

struct kept_stream {
	uint32_t ino;
	const TcpStreamEntry *e;
	const void *inq, *outq;
	UT_hash_handle hh;
};

struct tcp_streams {
	struct kept_stream *by_ino;
	size_t kept; /* bytes in all */
};

const struct subsys tcp_stream_subsys = { .name = "queues of TCP connections",
	                                  .state = { .restore = sizeof(struct tcp_streams) } };

static struct tcp_streams *tcp_streams_of(struct restore *r)
{
	return restore_state(r, &tcp_stream_subsys);
}

static const struct kept_stream *find_kept(struct restore *r, uint32_t ino)
{
	struct kept_stream *s = NULL;

	HASH_FIND(hh, tcp_streams_of(r)->by_ino, &ino, sizeof(ino), s);
	return s;
}

static int keep_queues(struct restore *r, uint32_t ino, struct image *img, const TcpStreamEntry *e)
{
	size_t len = (size_t)e->inq_len + e->outq_len;
	struct kept_stream *s;
	char *bytes;
	int err;

	if (len > KEEP_EACH || tcp_streams_of(r)->kept + len > KEEP_ALL || find_kept(r, ino))
		return 0;
	s = arena_new_of(r->arena, struct kept_stream);
	bytes = arena_alloc(r->arena, len);
	*s = (struct kept_stream) { .ino = ino, .e = e, .inq = bytes, .outq = bytes + e->inq_len };
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
	int err = open_stream_image(r, m, &img, &e);

	if (!err && m->ended)
		return e->inq_len != m->ended->unread ? -EBADMSG : 0;
	return err ?: keep_queues(r, m->ino, img, e);
}

/* ---- reading an image ---- */

/* All but the contents of the queues. */
static int fill_conn(const InetSkEntry *m, const TcpStreamEntry *e, struct soccr_conn *c)
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
	const struct kept_stream *s = find_kept(r, m->ino);
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err;

	if (s) {
		err = fill_conn(m, s->e, c);
		if (!err) {
			memcpy(c->inq, s->inq, c->inq_len);
			memcpy(c->outq, s->outq, c->outq_len);
		}
		return err;
	}
	err = open_stream_image(r, m, &img, &e);
	if (err)
		return log_errno(err, "tcp-stream-%x.img", m->ino);
	err = fill_conn(m, e, c);
	err = err ?: image_read_raw(img, c->inq, e->inq_len);
	return err ?: image_read_raw(img, c->outq, e->outq_len);
}

int tcp_stream_read_unread(struct restore *r, const InetSkEntry *m, char **bytes)
{
	_cleanup_image_ struct image *img = NULL;
	TcpStreamEntry *e;
	int err = open_stream_image(r, m, &img, &e);

	if (!err && e->inq_len != m->ended->unread)
		err = -EBADMSG;
	if (err)
		return log_errno(err, "tcp-stream-%x.img", m->ino);
	*bytes = malloc(e->inq_len + 1UL);
	return *bytes ? image_read_raw(img, *bytes, e->inq_len) : -ENOMEM;
}
