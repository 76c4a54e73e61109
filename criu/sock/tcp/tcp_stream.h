/* SPDX-License-Identifier: GPL-2.0-only */
/* tcp-stream-*.img: sequence numbers, options and queues of one connection. */
#ifndef CRIU_SOCK_TCP_TCP_STREAM_H
#define CRIU_SOCK_TCP_TCP_STREAM_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"
#include "soccr.h"

/* Dump: writes the image of a connection that soccr_read() has read. 0 or a negative errno (logged). */
int tcp_stream_write(struct dump *d, const InetSkEntry *m, const struct soccr_conn *c);

/* Restore: whether the image exists and makes sense. 0 or a negative errno (mostly not logged). */
int tcp_stream_check(struct restore *r, const InetSkEntry *m);

/* The connection of m, with its queues, which soccr_free() frees. 0 or a negative errno (logged). */
int tcp_stream_read(struct restore *r, const InetSkEntry *m, struct soccr_conn *c);

/* Of a connection that has ended: m->ended->unread bytes, malloc()ed. 0 or a negative errno (logged). */
int tcp_stream_read_unread(struct restore *r, const InetSkEntry *m, char **bytes);

#endif
