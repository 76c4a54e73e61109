/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The receive queue of a socket (sk-queues.img): bytes with their message boundaries, the sender's address and
 * credentials, and in-flight descriptors.
 */
#ifndef CRIU_SOCK_QUEUE_H
#define CRIU_SOCK_QUEUE_H

#include "sk-packet.pb-c.h"
#include "tree/kind.h"

/*
 * Dump: peeks at the whole receive queue of info->fd, a unix or UDP socket of type SOCK_*, and writes it for file `id`.
 * Nothing is taken out and nothing stays changed (SO_PEEK_OFF and the SO_PASS* options are set back, under undo
 * entries). In-flight descriptors are dumped with files_dump_in_flight(). 0, DUMP_REFUSED, or a negative errno
 * (logged).
 */
int queue_dump(struct dump *d, const struct fd_info *info, uint32_t id, int type);
int queue_write_images(struct dump *d);

/* Dump: a message of criu's own, behind those of queue_dump(). 0 or a negative errno (logged). */
int queue_add(struct dump *d, uint32_t id, const void *bytes, size_t len);

/* Restore: reads sk-queues.img once, and holds the in-flight files (files_pin()). */
int queue_read_images(struct restore *r);

/* How many messages wait in the queue of file id; and the sender's address of each message of a datagram socket (len 0:
 * unnamed).
 */
size_t queue_count(struct restore *r, uint32_t id);
const void *queue_sender(struct restore *r, uint32_t id, size_t n, size_t *len);

/* The bytes of message n of file id; NULL where no such message exists. */
const void *queue_bytes(struct restore *r, uint32_t id, size_t n, size_t *len);

/*
 * Sends the messages [first, first + n) of file id by `from`, a descriptor of ours that is connected to the receiving
 * socket, with their credentials (agent/impersonate.h for tasks that are gone) and descriptors. Buffer limits of `from`
 * are raised for it and put back. 0 or a negative errno (logged).
 */
int queue_send(struct restore *r, uint32_t id, size_t first, size_t n, int from);

/* The same for messages that are not in sk-queues.img. */
struct queued_message {
	const SkPacketEntry *e;
	const void *bytes;
};
int queue_send_messages(struct restore *r, const struct queued_message *messages, size_t n, int from, const char *what);

#endif
