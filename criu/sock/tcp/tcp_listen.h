/* SPDX-License-Identifier: GPL-2.0-only */
/* Listening TCP sockets. */
#ifndef CRIU_SOCK_TCP_TCP_LISTEN_H
#define CRIU_SOCK_TCP_TCP_LISTEN_H

#include "sock/inet_addr.h"
#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/*
 * The backlog; refuses connections that were not accepted yet, or drops them with --skip-in-flight. s: what diag says.
 * own: the socket's address. 0 or DUMP_REFUSED.
 */
struct diag_inet;
int tcp_listen_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s,
                    const union inet_addr *own);

/* When all sockets are bound: a listening one keeps others from its port. 0 or a negative errno (not logged). */
int tcp_listen_start(struct restore *r, const InetSkEntry *m, int fd);

#endif
