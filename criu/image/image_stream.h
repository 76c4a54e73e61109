/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Images through the image streamer (--stream) instead of files: a program that has each file's bytes in or out of a
 * pipe, and is asked for it by name over a unix socket in the image directory. Used by image.c and image_dir.c alone.
 *
 * A pipe can be read once, from its start to its end. So pages go straight out, file by file, but all other images of
 * a dump are kept in memory until they are sent, since some are written anew; and what a restore gets is kept in memory
 * until it is not needed any more.
 *
 * All may be called by several threads, but one descriptor by one at a time. Functions return 0 or a negative errno
 * (logged): -ETIMEDOUT where the streamer does nothing for `limit` seconds, -EPIPE where it has ended.
 */
#ifndef CRIU_IMAGE_IMAGE_STREAM_H
#define CRIU_IMAGE_IMAGE_STREAM_H

#include "common.h"

struct image_stream;

/* Connects to the streamer's socket in the directory dirfd: the one for a dump (capture), or for a restore. */
int image_stream_connect(int dirfd, const char *path, bool capture, unsigned limit, struct image_stream **sp);
/* The streamer sees the end of it. NULL is fine. */
void image_stream_close(struct image_stream *s);

/* ---- dump ---- */

/* Keeps what is in fd, a whole file, under that name, in the place of one of that name. fd's position is lost. */
int image_stream_keep(struct image_stream *s, const char *name, int fd);

/* Sends all that is kept, in the order in which it was kept first, and forgets it. */
int image_stream_send_kept(struct image_stream *s);

/*
 * A file that is sent as it is written: its descriptor; bytes of it, in order; and its end, after which the streamer
 * has taken all of it. The caller closes the descriptor, which image_stream_end() does too.
 */
int image_stream_begin(struct image_stream *s, const char *name);
int image_stream_write(struct image_stream *s, const char *name, int fd, const void *data, size_t len);
int image_stream_end(struct image_stream *s, const char *name, int *fd);

/* ---- restore ---- */

/* Where the bytes of a file are, in a file that is ours alone; never written again until forgotten. */
struct image_stretch {
	int fd;            /* the stream's: not to be closed */
	uint64_t at, size; /* at: a multiple of the page size */
};

/*
 * Gets a file, unless it is here already: of `most` bytes at most (more is -EBADMSG). -ENOENT without a log line where
 * the streamer has none.
 */
int image_stream_fetch(struct image_stream *s, const char *name, uint64_t most, struct image_stretch *where);

/* Its memory is given back; it can be had no more. */
void image_stream_forget(struct image_stream *s, const char *name);

/* A descriptor of its own with the bytes of a stretch, for reading from its start. The caller closes it. */
int image_stream_copy(const struct image_stretch *where, const char *name);

#endif
