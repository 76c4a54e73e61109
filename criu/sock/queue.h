/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waits in a socket's receive queue (sk-queues.img): bytes with their message boundaries, the sender's address and
 * credentials, and descriptors in flight.
 */
#ifndef CRIU_SOCK_QUEUE_H
#define CRIU_SOCK_QUEUE_H

#include "tree/kind.h"

/*
 * Dump: peeks at everything that waits in info->fd, a unix or UDP socket of type SOCK_*, and writes it for file `id`.
 * Nothing is taken out and nothing stays changed (SO_PEEK_OFF and the SO_PASS* switches are put back, under undo
 * entries). Descriptors in flight are dumped with files_dump_in_flight(). 0, DUMP_REFUSED, or a negative errno
 * (logged).
 */
int queue_dump(struct dump *d, const struct fd_info *info, uint32_t id, int type);
int queue_write_images(struct dump *d);

/* Restore: reads sk-queues.img once, and holds the files in flight. */
int queue_read_images(struct restore *r);

/* Whether anything waits for file id; and the sender's address of each message of a datagram socket (len 0: unnamed).
 */
size_t queue_count(struct restore *r, uint32_t id);
const void *queue_sender(struct restore *r, uint32_t id, size_t n, size_t *len);

/* The bytes of message n of file id; NULL where there is no such message. */
const void *queue_bytes(struct restore *r, uint32_t id, size_t n, size_t *len);

/*
 * Sends the messages [first, first + n) of file id by `from`, a descriptor of ours that is connected to the receiving
 * socket, with their credentials (agent/impersonate.h for tasks that are gone) and descriptors. Buffer limits of `from`
 * are raised for it and put back. 0 or a negative errno (logged).
 */
int queue_send(struct restore *r, uint32_t id, size_t first, size_t n, int from);

#endif
