/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The files that epoll instances watch, at dump: where a watched description is now, if anywhere, when all descriptors
 * of the tree are known.
 */
#ifndef CRIU_FD_EPOLL_TARGETS_H
#define CRIU_FD_EPOLL_TARGETS_H

#include "tree/kind.h"
#include "eventpoll.pb-c.h"

struct epoll_instance {
	EventpollFileEntry *m;
	struct task *task;
	const char *name; /* for messages */
	pid_t pid;        /* the process that has it, under the number efd: a task, or criu where it was in flight */
	int efd;
	dev_t sockets; /* epoll_device_of_sockets() */
	struct epoll_instance *next;
};

/* The device of all sockets; 0: not known. */
dev_t epoll_device_of_sockets(void);

/* What a table has under a number; NULL: nothing. fds are in ascending order. */
const FdinfoEntry *epoll_fd_at(FdinfoEntry *const *fds, size_t n, uint32_t number);

/* Finds the file of each target, or refuses. 0 or a negative errno (logged). */
int epoll_targets_find(struct dump *d, const struct epoll_instance *w);

#endif
