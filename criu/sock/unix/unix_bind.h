/* SPDX-License-Identifier: GPL-2.0-only */
/* Binding unix sockets to their names at restore, and connecting to bound ones. */
#ifndef CRIU_SOCK_UNIX_UNIX_BIND_H
#define CRIU_SOCK_UNIX_UNIX_BIND_H

#include <sys/un.h>

#include "sock/unix/chroot_helper.h"
#include "sock/unix/usk.h"

/* Whether to try a name again after err, -EADDRINUSE; then it has waited 10 ms, a second at most in all. */
bool unix_bind_again(struct restore *r, int err);

/* Binds fd to a path in the scratch root, under a number of its own; *number is its folder. */
int unix_bind_scratch(struct unix_restore *all, int fd, const char *name, size_t len, unsigned *number);

/* The same for many, by one helper. */
struct scratch_bind {
	int fd;
	const char *name;
	size_t len;
	unsigned *number;
};

int unix_bind_scratch_all(struct unix_restore *all, const struct scratch_bind *binds, size_t n);

/* Gives a temporary peer of ours the name of the one that is gone; one that is in use now is a warning. */
int unix_bind_temp(struct restore *r, int fd, const char *name, size_t len, const char *text);

/* Binds those of a portion that were made and have names of their own, with the options that stand before bind(2). */
int unix_bind_portion(struct restore *r);

/* Puts a hidden socket file in its place. */
int unix_bind_publish(struct restore *r, struct usk *u);

/*
 * The address of a bound socket for impersonate_connect(): *dir is -1, or a descriptor that the caller closes when *own
 * is set.
 */
int unix_bind_address(struct unix_restore *all, const struct usk *to, struct sockaddr_un *a, socklen_t *len, int *dir,
                      bool *own);

/* Connects fd to a bound socket, by ourselves: not for connections whose SO_PEERCRED matters. Not logged. */
int unix_bind_connect(struct unix_restore *all, int fd, const struct usk *to);

#endif
