/* SPDX-License-Identifier: GPL-2.0-only */
/* The pipes or FIFOs of a dump: their ids and queues, and which process outside of the tree has an end that it lacks.
 */
#ifndef CRIU_FD_PIPE_TABLE_H
#define CRIU_FD_PIPE_TABLE_H

#include "files/files.h"

struct pipe_table;

/*
 * Notes a descriptor of a pipe; the first of each pipe writes its queue into the image (IMG_PIPES_DATA or
 * IMG_FIFO_DATA). *tablep is NULL at first. *pipe_id: the inode's number, or the next free one where two file systems
 * use the same.
 */
int pipe_table_add(struct dump *d, const struct fd_info *info, enum image_type image, struct pipe_table **tablep,
                   uint32_t *pipe_id);

/*
 * All descriptors are known: finds the processes outside of the tree that have ends which the tree lacks, and warns
 * (table: NULL where there was no pipe).
 */
void pipe_table_find_outside(struct dump *d, struct pipe_table *table);

/* "pid 812 (x)", which has an end of the pipe with this id; NULL: none was found. */
char *pipe_table_lost_to(struct pipe_table *table, uint32_t id);

/* Ends the image. */
int pipe_table_finish(struct pipe_table *table);

#endif
