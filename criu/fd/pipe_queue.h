/* SPDX-License-Identifier: GPL-2.0-only */
/* What is in a pipe or FIFO, and its size: the same for both, in pipes-data and fifo-data. */
#ifndef CRIU_FD_PIPE_QUEUE_H
#define CRIU_FD_PIPE_QUEUE_H

#include "files/files.h"
#include "lib/arena_hash.h"
#include "pipe-data.pb-c.h"

/* A pipe of ours, for copies of the queues of others. All zero at first. */
struct pipe_copy {
	int fd[2];
	int size; /* 0: not made */
};

void pipe_copy_close(struct pipe_copy *copy);

/* Dump: writes the queue of a pipe into the image, without taking a byte out of it. 0 or a negative errno (logged). */
int pipe_queue_dump(struct dump *d, const struct fd_info *info, struct pipe_copy *copy, struct image *img, uint32_t id);

/* ---- restore ---- */

struct pipe_queue {
	uint32_t id;
	const PipeDataEntry *entry; /* NULL: the image says nothing about this pipe */
	void *bytes;
	/* For the kinds: */
	bool filled;   /* it has its size and bytes */
	int fd[2];     /* both ends as they were made, or -1 */
	bool warned;   /* that its other end is closed */
	bool taken[2]; /* that end, as it was made, is a file's already */
	unsigned left; /* how many descriptions are still to be opened */
	UT_hash_handle hh;
};

/* Reads the image (it may be missing) into a table. */
int pipe_queues_read(struct restore *r, enum image_type image, struct pipe_queue **table);

/* The queue of a pipe; one without an entry where the image has none. */
struct pipe_queue *pipe_queue_of(struct restore *r, struct pipe_queue **table, uint32_t id);

/* Flags with which it takes its bytes: no write may wait, and packets stay what they are. */
uint32_t pipe_queue_flags(const struct pipe_queue *q);

/* Gives a pipe its size and bytes. fd can be written to, and has these flags. `what` is for messages. */
int pipe_queue_fill(const struct pipe_queue *q, int fd, const char *what);

/*
 * Gives a pipe its size and bytes. fd can be written to, and its flags are changed for a while. `what` is for messages.
 */
int pipe_queue_put(const struct pipe_queue *q, int fd, const char *what);

#endif
