/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/sock/tcp*.c: tcp-stream-*.img, read. */
#ifndef CRIU_SOCK_TCP_TCP_STREAM_H
#define CRIU_SOCK_TCP_TCP_STREAM_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"
#include "soccr.h"

/* Whether it is there and makes sense. 0 or a negative errno (mostly not logged). */
int tcp_stream_check(struct restore *r, const InetSkEntry *m);

/* The connection of m, with its queues, which soccr_free() frees. 0 or a negative errno (logged). */
int tcp_stream_read(struct restore *r, const InetSkEntry *m, struct soccr_conn *c);

/* m->ended->unread bytes, malloc()ed. 0 or a negative errno (logged). */
int tcp_stream_unread(struct restore *r, const InetSkEntry *m, char **bytes);

#endif
