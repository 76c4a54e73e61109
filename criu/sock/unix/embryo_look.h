/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What waits in the queue of a listening unix socket: connections that have not been accepted, and what their clients
 * have sent. No descriptor leads to such an end (an embryo), and to accept it cannot be taken back: so it is looked at
 * in the kernel's memory (lib/kernel_view.h).
 */
#ifndef CRIU_SOCK_UNIX_EMBRYO_LOOK_H
#define CRIU_SOCK_UNIX_EMBRYO_LOOK_H

#include "lib/arena.h"

struct embryo_message {
	uint32_t len;
	const void *bytes; /* NULL: they cannot be read */
	bool oob, has_rights;
	pid_t pid; /* the sender's; 0: it has none there */
	uint32_t uid, gid;
};

struct embryo {
	uint32_t client; /* inode; 0: gone */
	pid_t pid;       /* the caller of connect(2), as above */
	uint32_t uid, gid, n_groups;
	const uint32_t *groups;
	struct embryo_message *messages;
	size_t n_messages;
};

struct embryo_look;

/* Pids are those of the namespace that process pid is in. A negative errno: not on this kernel, or without the rights
 * for it; *why (from the arena) names the call. */
int embryo_look_start(struct arena *a, pid_t pid, struct embryo_look **out, const char **why);
void embryo_look_end(struct embryo_look *l);

/* The queue of a listener, a descriptor of ours, in order. */
int embryo_look_at(struct embryo_look *l, int listener, struct embryo **out, size_t *n, const char **why);

#endif
