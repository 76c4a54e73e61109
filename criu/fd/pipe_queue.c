/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "fd/pipe_queue.h"
#include "lib/fd_flags.h"
#include "lib/log.h"

/* ---- dump ---- */

/* Pipes of one size, as most are, have one pipe of ours for their copies, which is empty again after each. */
static int make_copy(const struct fd_info *info, struct pipe_copy *copy, int size)
{
	if (!copy->size) {
		if (pipe2(copy->fd, O_CLOEXEC | O_NONBLOCK))
			return log_errno(-errno, "%s: pipe2 for a copy of its queue", fd_name(info));
		copy->size = 1;
	}
	if (copy->size > size)
		return 0;
	/* One page more for the byte, where we may have it. */
	copy->size = fcntl(copy->fd[1], F_SETPIPE_SZ, size + 1);
	if (copy->size < 0)
		copy->size = fcntl(copy->fd[1], F_SETPIPE_SZ, size);
	return copy->size < 0
	           ? log_errno(
	                 -errno,
	                 "%s: fcntl(F_SETPIPE_SZ) to %d bytes for a copy of its queue (see /proc/sys/fs/pipe-max-size)",
	                 fd_name(info), size)
	           : 0;
}

void pipe_copy_close(struct pipe_copy *copy)
{
	if (!copy->size)
		return;
	close(copy->fd[0]);
	close(copy->fd[1]);
	copy->size = 0;
}

/*
 * Copies what is in the pipe into one of our own, without taking it out (tee(2)), and adds one byte, which shows
 * afterwards whether the last piece was a packet. Returns the number of bytes copied, the added one not counted.
 */
static ssize_t copy_pipe(const struct fd_info *info, int src, const int ours[2], bool *marked)
{
	ssize_t n;
	int left;

	n = tee(src, ours[1], INT32_MAX, SPLICE_F_NONBLOCK);
	if (n < 0 && errno == EAGAIN)
		n = 0; /* a process outside of the tree has just read it */
	if (n < 0)
		return log_errno(-errno, "%s: tee of its queue", fd_name(info));
	/* More in it than was copied: our pipe has fewer places. Less than a page more may have been written since. */
	if (!ioctl(info->fd, FIONREAD, &left) && left > n && n + 4096 < left)
		return log_errno(-ENOBUFS, "%s: only %zd of %d bytes of its queue could be copied", fd_name(info), n,
		                 left);
	*marked = write(ours[1], "", 1) == 1;
	return n;
}

/* Reads the copy piece by piece: a read ends where a packet does. */
static int read_packets(struct dump *d, const struct fd_info *info, int fd, char *buf, size_t n, bool marked,
                        PipeDataEntry *e)
{
	size_t total = n + marked, at = 0, count = 0;
	uint32_t *sizes = NULL;

	while (at < total) {
		ssize_t got = read(fd, buf + at, total - at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return log_errno(got ? -errno : -EIO, "%s: read of the copy of its queue", fd_name(info));
		at += got;
		if (marked && at == total)
			got--;
		if (got)
			arena_push(d->arena, &sizes, &count, (uint32_t)got);
		if (marked && at == total && got && count == 1)
			return 0; /* one piece with the byte in it: not packets */
	}
	if (count > 1 || (count && marked)) {
		e->n_packets = count;
		e->packets = sizes;
	}
	return 0;
}

int pipe_queue_dump(struct dump *d, const struct fd_info *info, struct pipe_copy *copy, struct image *img, uint32_t id)
{
	_cleanup_close_ int reader = -1;
	PipeDataEntry e = PIPE_DATA_ENTRY__INIT;
	int size = fcntl(info->fd, F_GETPIPE_SZ), pending, err = 0;
	_cleanup_free_ char *buf = NULL;
	bool marked = false;
	ssize_t n = 0;

	if (size < 0 || ioctl(info->fd, FIONREAD, &pending))
		return log_errno(-errno, "%s: fcntl(F_GETPIPE_SZ), ioctl(FIONREAD)", fd_name(info));
	if (pending) {
		if ((info->flags & O_ACCMODE) == O_WRONLY) {
			reader = fd_flags_reopen(info->fd, O_RDONLY | O_NONBLOCK);
			if (reader < 0)
				return log_errno(reader, "%s: open for reading", fd_name(info));
		}
		err = make_copy(info, copy, size);
		if (err)
			return err;
		n = copy_pipe(info, reader >= 0 ? reader : info->fd, copy->fd, &marked);
		if (n < 0)
			return (int)n;
		buf = malloc((size_t)n + 1);
		if (!buf)
			return log_errno(-ENOMEM, "%s: out of memory for %zd bytes of its queue", fd_name(info), n);
		err = read_packets(d, info, copy->fd[0], buf, (size_t)n, marked, &e);
	}
	e.pipe_id = id;
	e.bytes = (uint32_t)n;
	e.has_size = true;
	e.size = (uint32_t)size;
	if (!err)
		err = image_write(img, &e);
	return err ?: n ? image_write_raw(img, buf, (size_t)n) : 0;
}

/* ---- restore ---- */

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
			return log_errno(-EINVAL, "%s: pipe %u stands in it twice", image_name(img), e->pipe_id);
		if (e->bytes > image_left(img))
			return log_errno(-EINVAL, "%s: pipe %u: the image ends before its %u bytes do", image_name(img),
			                 e->pipe_id, e->bytes);
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

static int write_bytes(const struct pipe_queue *q, int fd, const char *what, uint32_t at, uint32_t n)
{
	ssize_t done = write(fd, (const char *)q->bytes + at, n);

	if (done == (ssize_t)n)
		return 0;
	return log_errno(done < 0 ? -errno : -ENOSPC,
	                 "%s: write of %u bytes put only %zd into its queue (its size was %u)", what, n, MAX(done, 0),
	                 q->entry->has_size ? q->entry->size : 0);
}

uint32_t pipe_queue_flags(const struct pipe_queue *q)
{
	const PipeDataEntry *e = q->entry;

	return e && e->bytes ? O_NONBLOCK | (e->n_packets ? O_DIRECT : 0) : 0;
}

int pipe_queue_fill(const struct pipe_queue *q, int fd, const char *what)
{
	const PipeDataEntry *e = q->entry;
	int now = e ? fcntl(fd, F_GETPIPE_SZ) : 0, err = 0;
	uint32_t at = 0;

	if (!e)
		return 0;
	if (now < 0)
		return log_errno(-errno, "%s: fcntl(F_GETPIPE_SZ)", what);
	if (e->has_size && (uint32_t)now != e->size && fcntl(fd, F_SETPIPE_SZ, e->size) < 0)
		log_warn("%s: its size is %d bytes now instead of %u: %s (see /proc/sys/fs/pipe-max-size, "
		         "pipe-user-pages-soft)",
		         what, now, e->size, strerror(errno));
	for (size_t i = 0; !err && i < e->n_packets; at += e->packets[i++])
		err = write_bytes(q, fd, what, at, e->packets[i]);
	if (!err && !e->n_packets && e->bytes)
		err = write_bytes(q, fd, what, 0, e->bytes);
	return err;
}

int pipe_queue_put(const struct pipe_queue *q, int fd, const char *what)
{
	uint32_t more = pipe_queue_flags(q);
	int flags = more ? fcntl(fd, F_GETFL) : 0, err;

	if (flags < 0 || (more && fcntl(fd, F_SETFL, flags | (int)more)))
		return log_errno(-errno, "%s: fcntl(F_GETFL, F_SETFL)", what);
	err = pipe_queue_fill(q, fd, what);
	if (more && fcntl(fd, F_SETFL, flags) && !err)
		err = log_errno(-errno, "%s: fcntl(F_SETFL) back", what);
	return err;
}
