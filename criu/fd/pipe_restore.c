/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>

#include "lib/log.h"
#include "fd/pipe_data.h"

struct pipe_queue *pipe_queue_of(struct restore *r, struct pipe_queue **table, uint32_t id)
{
	struct pipe_queue *q;

	HASH_FIND(hh, *table, &id, sizeof(id), q);
	if (!q) {
		q = arena_new_of(r->arena, struct pipe_queue);
		q->id = id;
		q->fd[0] = q->fd[1] = -1;
		HASH_ADD_IN(r->arena, hh, *table, id, sizeof(q->id), q);
	}
	return q;
}

static int check_packets(const struct image *img, const PipeDataEntry *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < e->n_packets; i++)
		sum += e->packets[i];
	if (e->n_packets && sum != e->bytes)
		return log_errno(-EINVAL, "%s: pipe %u: its packets do not add up to its %u bytes", image_name(img),
		                 e->pipe_id, e->bytes);
	return 0;
}

int pipe_queues_read(struct restore *r, enum image_type image, struct pipe_queue **table)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, image, 0, &img);
	PipeDataEntry *e;

	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &pipe_data_entry__descriptor, r->arena, &e)) > 0) {
		struct pipe_queue *q = pipe_queue_of(r, table, e->pipe_id);

		if (q->entry)
			return log_errno(-EINVAL, "%s: pipe %u is there twice", image_name(img), e->pipe_id);
		if (e->bytes > image_left(img))
			return log_errno(-EINVAL, "%s: pipe %u: %u bytes are said to follow, but it ends before",
			                 image_name(img), e->pipe_id, e->bytes);
		err = check_packets(img, e);
		if (err)
			return err;
		q->entry = e;
		q->bytes = arena_alloc(r->arena, e->bytes + 1UL);
		err = image_read_raw(img, q->bytes, e->bytes);
		if (err)
			return err;
	}
	return err;
}

static int put_bytes(const struct pipe_queue *q, int fd, const char *what, uint32_t at, uint32_t n)
{
	ssize_t done = write(fd, (const char *)q->bytes + at, n);

	if (done == (ssize_t)n)
		return 0;
	return log_errno(done < 0 ? -errno : -ENOSPC,
	                 "%s: only %zd of the %u bytes in its queue went in (its size was %u)", what, MAX(done, 0), n,
	                 q->entry->has_size ? q->entry->size : 0);
}

int pipe_queue_put(const struct pipe_queue *q, int fd, const char *what)
{
	const PipeDataEntry *e = q->entry;
	int flags, now, err = 0;
	uint32_t at = 0;

	if (!e)
		return 0;
	now = fcntl(fd, F_GETPIPE_SZ);
	flags = fcntl(fd, F_GETFL);
	if (now < 0 || flags < 0)
		return log_errno(-errno, "%s: the size of its queue", what);
	if (e->has_size && (uint32_t)now != e->size && fcntl(fd, F_SETPIPE_SZ, e->size) < 0)
		log_warn("%s: its queue has %d bytes now instead of %u: %s (see /proc/sys/fs/pipe-max-size, "
		         "pipe-user-pages-soft)",
		         what, now, e->size, strerror(errno));
	if (!e->bytes)
		return 0;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK | (e->n_packets ? O_DIRECT : 0)))
		return log_errno(-errno, "%s: setting its flags", what);
	for (size_t i = 0; !err && i < e->n_packets; at += e->packets[i++])
		err = put_bytes(q, fd, what, at, e->packets[i]);
	if (!err && !e->n_packets)
		err = put_bytes(q, fd, what, 0, e->bytes);
	if (fcntl(fd, F_SETFL, flags) && !err)
		err = log_errno(-errno, "%s: setting its flags back", what);
	return err;
}
