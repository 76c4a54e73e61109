/* SPDX-License-Identifier: GPL-2.0-only */
/* The bytes that wait in a pipe or FIFO, and its size: the same for both, in pipes-data and fifo-data. */
#ifndef CRIU_FD_PIPE_DATA_H
#define CRIU_FD_PIPE_DATA_H

#include "files/files.h"
#include "lib/arena_hash.h"
#include "pipe-data.pb-c.h"

/* ---- dump ---- */

/* All pipes of a kind in a dump. */
struct pipe_table;

/*
 * Notes a descriptor of a pipe; the first of each pipe writes its queue into the image (IMG_PIPES_DATA or
 * IMG_FIFO_DATA), without taking a byte out of it (tee(2)). *tablep is NULL at first. *pipe_id: the inode's number, or
 * the next free one where two file systems use the same.
 */
int pipe_dump_queue(struct dump *d, const struct fd_info *info, enum image_type image, struct pipe_table **tablep,
                    uint32_t *pipe_id);

/*
 * All descriptors are known: warns of pipes whose other end somebody outside of the tree has, and names him (table:
 * NULL where there was no pipe).
 */
void pipe_tell_outside(struct dump *d, struct pipe_table *table);

/* Who that is, for the pipe with this id; NULL: nobody. */
char *pipe_lost_to(struct pipe_table *table, uint32_t id);

/* Ends the image. */
int pipe_dump_finish(struct pipe_table *table);

/* ---- restore ---- */

struct pipe_queue {
	uint32_t id;
	const PipeDataEntry *entry; /* NULL: the image says nothing about this pipe */
	void *bytes;
	bool made;     /* for the kinds: it has its size and bytes */
	int fd[2];     /* for the kinds: both ends as they were made, or -1 */
	bool told;     /* for the kinds: that its other end is closed */
	bool given[2]; /* for the kinds: that end has been handed out as it was made */
	unsigned left; /* for the kinds: how many descriptions are still to be opened */
	UT_hash_handle hh;
};

/* Reads the image (it may be missing) into a table. */
int pipe_queues_read(struct restore *r, enum image_type image, struct pipe_queue **table);

/* The queue of a pipe; one without an entry where the image has none. */
struct pipe_queue *pipe_queue_of(struct restore *r, struct pipe_queue **table, uint32_t id);

/* Gives a pipe its size and bytes. fd can be written to, and its flags are changed for a while. `what` is for messages.
 */
int pipe_queue_put(const struct pipe_queue *q, int fd, const char *what);

#endif
