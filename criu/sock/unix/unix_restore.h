/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of restoring unix sockets share; unix.c says in which order they work. */
#ifndef CRIU_SOCK_UNIX_UNIX_RESTORE_H
#define CRIU_SOCK_UNIX_UNIX_RESTORE_H

#include "sock/unix/usk.h"

/* ---- unix_check.c: before anything is made ---- */

int unix_check(struct restore *r, const void *msg, const char **why);

/* ---- unix_group.c: which have to be made together ---- */

void unix_group_all(struct unix_restore *all);

/* Selects those that have to exist before descriptors are opened; then the group of one, with some that follow: false
 * where that was made already. usk_each() sees these alone until the end. */
void unix_group_first(struct unix_restore *all);
bool unix_group_next(struct unix_restore *all, struct usk *u);
void unix_group_end(struct unix_restore *all);
/* The group of one was made in another way: it is not selected any more. */
void unix_group_done(struct usk *u);

/* ---- unix_make.c ---- */

/* Once, before any is made. Makes those that are selected. One of a pair, or one without a peer, for its descriptor. */
int unix_make_begin(struct restore *r);
int unix_make_portion(struct restore *r);
bool unix_make_is_late(const struct usk *u);
int unix_make_late(struct restore *r, struct usk *u);

/* ---- unix_pair.c: sockets that come in pairs ---- */

/* Both ends of a connection (stream, seqpacket), or one whose peer is gone and gets a temporary one. */
int unix_pair_connect(struct restore *r, struct usk *u);

/* Both ends of several connections without names, which the same process has made: of the first, and of up to *n that
 * were tried. */
int unix_pair_many(struct restore *r, struct usk **list, size_t *n);

/*
 * A datagram socket that socketpair(2) made, with its peer or with a temporary one as the other half. Those that show
 * credentials (SO_PEERCRED) were made by it, and so was one without a name to which another is connected. *paired:
 * whether u is one of these; else nothing is made.
 */
int unix_pair_dgram(struct restore *r, struct usk *u, bool *paired);

/* Whether u has no name, but is connected to one that has, and both are halves of one socketpair(2). */
bool unix_pair_is_half(const struct usk *u, const struct usk *of);

/* Makes those of n connections that were accepted once; the others stay. Each has a peer that is not made yet. */
int unix_pair_accept(struct restore *r, struct usk **list, size_t n);

/* ---- unix_listen.c ---- */

/* Whether it waits in the queue of a listening socket. */
bool unix_listen_is_client(const struct usk *u);

/* Lets the sockets of a portion listen, and queues the clients on their lists; then one that is on no list; then the
 * backlog as it was. */
int unix_listen_portion(struct restore *r);
int unix_listen_client(struct restore *r, struct usk *u);
int unix_listen_finish(struct restore *r, struct usk *l);

/* ---- unix_dgram.c ---- */

/* Fills the receive queues of all datagram sockets; then connects all of them. */
int unix_dgram_fill_all(struct restore *r);
int unix_dgram_connect_all(struct restore *r);

/* Gives a temporary peer the name of the one that is gone, before it is closed. */
int unix_dgram_name_temp(struct restore *r, struct usk *u);

/* ---- unix_settle.c: the last steps, when all descriptors exist ---- */

/* Options before bind(2), where it does not have them since it is new. */
int unix_options_first(struct restore *r, struct usk *u);

/* While its descriptor is at hand, of one whose options are those of a new socket: flags, so that nothing is left. */
int unix_options_ahead(struct restore *r, struct usk *u);

int unix_settle(struct restore *r);

#endif
