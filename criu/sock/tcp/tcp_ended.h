/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections that have ended (TCP_CLOSE): the kernel no longer tells the peer's address, but unread bytes, an
 * error that was not reported yet and a port held by bind() may be left. Such a socket is restored from a real
 * connection over loopback, which ends in the same way. Where nothing is left, a plain socket is enough.
 */
#ifndef CRIU_SOCK_TCP_TCP_ENDED_H
#define CRIU_SOCK_TCP_TCP_ENDED_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/* Whether a port is held by bind(); the kernel tells since 6.8 (TCP_BOUND_INACTIVE). */
enum tcp_bound { TCP_BOUND_UNKNOWN, TCP_BOUND_NO, TCP_BOUND_YES };

/*
 * Reads a socket in TCP_CLOSE that is shut down both ways, or has an error to report, into m->ended, NULL where nothing
 * is left of the connection; then m loses its address too, if no port is held. who: for messages. 0 or a negative errno
 * (logged).
 */
int tcp_ended_dump(struct dump *d, int fd, enum tcp_bound bound, InetSkEntry *m, const char *who);

/*
 * How a connection in this state ends when it is closed instead of kept: with a plain end of what can be read, as CRIU
 * does it (a connect() that goes on is refused), or as if its peer had reset it.
 */
InetEndedEntry *tcp_ended_instead(struct arena *a, uint32_t state, bool reset);

/* Before anything is started: whether the bytes that were not read are in the images. Or *why in the arena. */
int tcp_ended_check(struct restore *r, const InetSkEntry *m, const char **why);

/*
 * Makes the ended connection in a new socket that has no options but those that bind() wants; the others can be set
 * afterwards. 0 or a negative errno (not logged) with *why in the arena. who: for messages.
 */
int tcp_ended_make(struct restore *r, int fd, const InetSkEntry *m, const InetEndedEntry *e, const char *who,
                   const char **why);

#endif
