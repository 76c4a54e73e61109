/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Calls that the kernel stamps with the caller (SO_PEERCRED at socketpair(2), listen(2), connect(2); SCM_CREDENTIALS):
 * made by the task with that pid where it is in the tree, by its agent; by a short-lived task with that pid, which
 * shares our memory and descriptors, where it is gone; with the effective ids given. A pid that another process has by
 * now is a warning, and the call is made by ourselves.
 */
#ifndef CRIU_AGENT_IMPERSONATE_H
#define CRIU_AGENT_IMPERSONATE_H

#include <sys/socket.h>

#include "tree/restore.h"

/* From prepare() on, until the threads of the tasks are made. */
struct identity {
	vpid_t pid; /* 0: criu itself */
	uint32_t uid, gid;
	const uint32_t *groups; /* supplementary ones, as SO_PEERGROUPS shows them; not set where NULL */
	size_t n_groups;
};

/* Descriptors are ours. 0 or the call's negative errno (logged with `what`). */
int impersonate_listen(struct restore *r, const struct identity *as, int fd, int backlog, const char *what);
/*
 * dir: a directory descriptor of ours from which a unix path in addr is looked up, which then is relative and below 64
 * bytes (the caller's "/proc/self/fd/N/" goes before it); or -1: addr as it is.
 */
int impersonate_connect(struct restore *r, const struct identity *as, int fd, int dir, const struct sockaddr *addr,
                        socklen_t len, const char *what);
int impersonate_socketpair(struct restore *r, const struct identity *as, int type, int fds[2],
                           const char *what); /* AF_UNIX */

/*
 * Sends with SCM_CREDENTIALS of `as` (of pid 0: with none), which are added to the control data of mh. Does not wait.
 * The number of bytes sent, or a negative errno, not logged.
 */
int impersonate_sendmsg(struct restore *r, const struct identity *as, int fd, const struct msghdr *mh, int flags,
                        const char *what);

#endif
