/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections that have ended (TCP_CLOSE): the kernel no longer tells who the peer was, and there may be bytes that
 * nobody has read, an error that nobody was told, and a port that bind() keeps. Such a socket comes back from a real
 * connection over loopback to a socket of ours, which ends in the same way. One with nothing left is a plain socket.
 */
#ifndef CRIU_SOCK_TCP_TCP_ENDED_H
#define CRIU_SOCK_TCP_TCP_ENDED_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/* Whether a port is held by bind(); the kernel tells since 6.8 (TCP_BOUND_INACTIVE). */
enum tcp_bound { TCP_BOUND_UNKNOWN, TCP_BOUND_NO, TCP_BOUND_YES };

/*
 * Looks at a socket in TCP_CLOSE that is shut both ways: m->ended, or NULL where nothing is left of it; then m has no
 * address either, if no port is held. who: for messages. 0 or a negative errno (logged).
 */
int tcp_ended_look(struct dump *d, int fd, enum tcp_bound bound, InetSkEntry *m, const char *who);

/* How a connection in this state ends when it is closed instead of kept: as if its peer had reset it. */
InetEndedEntry *tcp_ended_instead(struct arena *a, uint32_t state);

/*
 * Makes it in a new socket without options (beside those that bind() wants), which stays as it is then: options can be
 * set afterwards. 0 or a negative errno (not logged) with *why in the arena. who: for messages.
 */
int tcp_ended_make(struct restore *r, int fd, const InetSkEntry *m, const InetEndedEntry *e, const char *who,
                   const char **why);

#endif
