/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Temporary listeners at restore: an accepted socket has the name of its listener, so one with that name makes it. By
 * the tasks that made the calls once (agent/impersonate.h), so that SO_PEERCRED shows the same as before.
 */
#ifndef CRIU_SOCK_UNIX_UNIX_TEMP_H
#define CRIU_SOCK_UNIX_UNIX_TEMP_H

#include "agent/impersonate.h"
#include "sock/unix/usk.h"

/* The name of a listener. */
struct unix_name {
	const char *name;
	size_t len;
	uint32_t type;
	uint32_t net_ns;
	const char *text; /* of the socket, for messages */
};

/* Makes both ends, fds[0] the one that connects; the caller of connect(2) and that of listen(2). */
int unix_temp_connect(struct restore *r, const struct unix_name *n, const struct identity *connects,
                      const struct identity *listens, int fds[2]);

/* The same for many, in a few turns of the tasks' agents. */
struct temp_pair {
	struct unix_name name;
	struct identity connects, listens;
	int fds[2];
	struct usk *accepted;           /* the caller's */
	struct unix_listener *listener; /* used while it is made */
};

int unix_temp_connect_many(struct restore *r, struct temp_pair *pairs, size_t n);

void unix_temp_close(struct unix_restore *all);

#endif
