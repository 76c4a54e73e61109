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
#include <sys/un.h>

#include "tree/restore.h"

/* From prepare() on, until the threads of the tasks are made. */
struct identity {
	vpid_t pid;   /* 0: criu itself */
	bool outside; /* messages: a process outside of the tree's own pid namespace, as criu is; pid is 0 */
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
int impersonate_connect(struct restore *r, const struct identity *as, int fd, int dir, const struct sockaddr_un *addr,
                        socklen_t len, const char *what);
int impersonate_socketpair(struct restore *r, const struct identity *as, int type, int fds[2],
                           const char *what); /* AF_UNIX */

/* The same for many, in two turns of the task's agent for 100 of them. The first error ends it. */
struct listen_call {
	int fd, backlog;
	const char *what;
};

int impersonate_listen_all(struct restore *r, const struct identity *as, const struct listen_call *calls, size_t n);

struct connect_call {
	int fd;
	struct sockaddr_un addr;
	socklen_t len;
	const char *what;
};

int impersonate_connect_all(struct restore *r, const struct identity *as, const struct connect_call *calls, size_t n,
                            int dir);

/* *n becomes how many of them were tried, at most PAIRS_AT_ONCE; those that failed where others did not have -1. */
struct pair_call {
	int type, fds[2];
	const char *what;
};

#define PAIRS_AT_ONCE 60
int impersonate_socketpairs(struct restore *r, const struct identity *as, struct pair_call *calls, size_t *n);

/*
 * Sends with SCM_CREDENTIALS of `as` (of pid 0: with none), which are added to the control data of mh. Does not wait.
 * The number of bytes sent, or a negative errno, not logged.
 */
int impersonate_sendmsg(struct restore *r, const struct identity *as, int fd, const struct msghdr *mh, int flags,
                        const char *what);

#endif
