/* SPDX-License-Identifier: GPL-2.0-only */
/* Single peeks at a socket's receive queue, for queue_dump.c. */
#ifndef CRIU_SOCK_QUEUE_PEEK_H
#define CRIU_SOCK_QUEUE_PEEK_H

#include <sys/socket.h>

#include "tree/kind.h"
#include "uapi/scm.h"

/* How much is read at once. */
#define QUEUE_READ_MIN (64UL << 10)
#define QUEUE_READ_MAX (1UL << 20)

struct queue_walk {
	struct dump *d;
	const struct fd_info *info;
	uint32_t id;
	const char *what; /* where in-flight descriptors are, for messages */
	int type;         /* SOCK_* */
	bool is_unix, refused;
	bool has_oob, oob_found; /* a byte sent with MSG_OOB waits */
	size_t at;               /* bytes before the next piece */
	bool at_head;            /* look at the first message instead, whatever `at` is */
	char *buf;
	size_t size;
	uint32_t no_uid, no_gid; /* what the kernel shows for a message without credentials */
};

struct peeked {
	size_t n;      /* bytes in the buffer */
	size_t length; /* of the message, which may be more */
	struct sockaddr_storage sender;
	socklen_t sender_len;
	bool said_cred; /* the kernel gave credentials, or said that the message has none */
	struct ucred cred;
	uint32_t vpid; /* of the sender, in the tree's pid namespace; 0: it has no number there */
	int fds[SCM_MAX_FD];
	size_t n_fds;
};

/* How the read before ended. */
struct piece {
	struct ucred cred;
	bool cut_short; /* before all was read, and not by descriptors */
};

/*
 * Peeks at w->at, `want` bytes at most. 0; -EAGAIN where no more follows; another negative errno. Not logged. The
 * descriptors are the caller's: queue_peek_close().
 *
 * Of a stream only what was sent in whole buffers of the kernel (less than 40 KiB) and fits; -EFAULT where the first
 * does not. For that, the byte behind `want` cannot be written: the kernel stops before the buffer that runs into it.
 * Without that, it would also bring the descriptors sent after the last byte (unix_stream_read_generic()).
 */
int queue_peek(struct queue_walk *w, size_t want, struct peeked *p);

/* The same for the whole next datagram: the buffer grows as needed. */
int queue_peek_whole(struct queue_walk *w, struct peeked *p);

void queue_peek_close(struct peeked *p);

/* A message, not the end of a socket that was shut down, which reads as an empty message. */
bool queue_peek_is_message(const struct queue_walk *w, const struct peeked *p);

/* Whether it was sent with credentials: else the kernel shows pid 0 and the overflow ids. */
void queue_overflow_ids(struct queue_walk *w);
bool queue_peek_has_cred(const struct queue_walk *w, const struct peeked *p);
bool queue_peek_same_cred(const struct peeked *p, const struct ucred *cred);

#endif
