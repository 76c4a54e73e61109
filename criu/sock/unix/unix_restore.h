/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of restoring unix sockets share; unix.c says in which order they work. */
#ifndef CRIU_SOCK_UNIX_UNIX_RESTORE_H
#define CRIU_SOCK_UNIX_UNIX_RESTORE_H

#include "sock/unix/usk.h"

/* ---- unix_check.c: before anything is made ---- */

int unix_check(struct restore *r, const void *msg, const char **why);

/* ---- unix_make.c ---- */

/* Makes all that have to exist before descriptors are opened. Then one of the others, for its descriptor. */
int unix_make_all(struct restore *r);
int unix_make_open(struct restore *r, const void *msg);

/* ---- unix_pair.c: sockets that come in pairs ---- */

/* Both ends of a connection (stream, seqpacket), or one whose peer is gone and gets a temporary one. */
int unix_pair_connect(struct restore *r, struct usk *u);

/*
 * A datagram socket that socketpair(2) made, with its peer or with a temporary one as the other half. Those that show
 * credentials (SO_PEERCRED) were made by it, and so was one without a name to which another is connected. *paired:
 * whether u is one of these; else nothing is made.
 */
int unix_pair_dgram(struct restore *r, struct usk *u, bool *paired);

/* Whether u has no name, but is connected to one that has, and both are halves of one socketpair(2). */
bool unix_pair_is_half(const struct usk *u, const struct usk *of);

void unix_pair_close_listeners(struct unix_restore *all);

/* ---- unix_listen.c ---- */

/* Whether it waits in the queue of a listening socket. */
bool unix_listen_is_client(const struct usk *u);

/* Lets a socket listen, and queues the clients on its list; then one that is on no list; then the backlog as it was. */
int unix_listen(struct restore *r, struct usk *l);
int unix_listen_client(struct restore *r, struct usk *u);
int unix_listen_finish(struct restore *r, struct usk *l);

/* ---- unix_dgram.c ---- */

/* Fills the receive queues of all datagram sockets; then connects all of them. */
int unix_dgram_fill_all(struct restore *r);
int unix_dgram_connect_all(struct restore *r);

/* Gives a temporary peer the name of the one that is gone, before it is closed. */
int unix_dgram_name_temp(struct restore *r, struct usk *u);

/* ---- unix_settle.c: the last steps, when all descriptors exist ---- */

int unix_settle(struct restore *r);

#endif
