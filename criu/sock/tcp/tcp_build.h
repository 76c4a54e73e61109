/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections built into new sockets, which stay in repair until all are released at the end of a restore. */
#ifndef CRIU_SOCK_TCP_TCP_BUILD_H
#define CRIU_SOCK_TCP_TCP_BUILD_H

#include "sock/tcp/tcp_lock.h"
#include "sk-inet.pb-c.h"
#include "soccr.h"

struct tcp_built {
	uint32_t id;
	const InetSkEntry *m;
	struct soccr_conn c;
	const char *who;
	int fd, undo; /* from the release on: ours, so that the socket outlives its task */
};

/* Sets the options that have to wait until the queues are full (buffer sizes, TCP_CORK). */
typedef int (*tcp_options_fn)(struct restore *r, int fd, const InetSkEntry *m);

/* Builds the connection of m in the new socket fd. who: for messages. 0 or a negative errno (logged). */
int tcp_build(struct restore *r, const InetSkEntry *m, int fd, const char *who, struct tcp_built *out);

/* FINs, the end of repair, what was not sent yet, options: from here on sockets answer their peers, behind the lock. */
int tcp_release_all(struct restore *r, struct tcp_built *conns, size_t n, const struct tcp_lock *lock,
                    tcp_options_fn set_options);

/* After the commit and the unlocking: unsent bytes go out now, not when a timer expires; then our descriptors close. */
void tcp_push_all(struct restore *r, struct tcp_built *conns, size_t n);

/* The restore has failed: back into repair, so that the peers hear nothing. */
void tcp_take_back_all(struct restore *r, struct tcp_built *conns, size_t n);

#endif
