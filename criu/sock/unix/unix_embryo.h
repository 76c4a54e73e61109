/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections that wait to be accepted: who made them, and what was sent before. Both directions. */
#ifndef CRIU_SOCK_UNIX_UNIX_EMBRYO_H
#define CRIU_SOCK_UNIX_UNIX_EMBRYO_H

#include "agent/impersonate.h"
#include "sock/unix/embryo_look.h"
#include "sock/unix/unix_dump.h"

/*
 * Dump: looks at what waits at u, a listener (fd: a duplicate of it), into u->embryos. What is not possible is said
 * there, not logged.
 */
void unix_embryo_look(struct dump *d, struct unix_seen *u, int fd);

/* When all have been looked at. */
void unix_embryo_end(struct dump *d);

/*
 * Fills connections of a listening socket. 0; DUMP_REFUSED (logged) where one was read that cannot come back; -EAGAIN
 * (not logged) where they cannot be read, and *why says why.
 */
int unix_embryo_dump(struct dump *d, const struct unix_seen *u, const char **why);

/* Restore: the form of what an image has; NULL, or what is wrong with it. */
const char *unix_embryo_check(const UnixSkEntry *m);

/* Who connected number i of those that wait; false: the image does not say. */
bool unix_embryo_connector(const UnixSkEntry *m, size_t i, struct identity *as);

/* Sends what number i has sent, by its socket, which waits at the listener by now. */
int unix_embryo_send(struct restore *r, const UnixSkEntry *m, size_t i, int fd, const char *what);

#endif
