/* SPDX-License-Identifier: GPL-2.0-only */
/* The TCP sockets of this host, as the kernel lists them (sock_diag(7)). */
#ifndef CRIU_SOCK_TCP_TCP_TABLE_H
#define CRIU_SOCK_TCP_TCP_TABLE_H

#include "lib/arena.h"
#include "netlock/net_lock.h"

struct tcp_table;

/*
 * All connections that tasks have, read at once. What the kernel alone keeps (TIME_WAIT and the like) is left out:
 * tcp_table_clear() is for that. 0 or a negative errno (not logged): nothing is known then.
 */
int tcp_table_read(struct arena *a, struct tcp_table **tp);

/* The inode of the socket that has this connection, or 0. */
uint32_t tcp_table_find(const struct tcp_table *t, const struct net_tuple *tuple);

/*
 * Calls fn for each socket in these states (bits, 1 << TCP_LISTEN) at a local port (0: any), until one returns
 * non-zero, which is returned; else 0 or a negative errno (not logged). ino of struct diag_inet is 0 where no task has
 * the socket. A dump and a restore may ask, in any thread.
 */
struct diag_inet;
int tcp_table_each(struct arena *a, uint16_t port, uint32_t states, int (*fn)(const struct diag_inet *s, void *arg),
                   void *arg);

/*
 * Takes a socket with these addresses out of the kernel's table, if no task has it: TIME_WAIT, or one that was closed
 * and still tries to tell its peer (SOCK_DESTROY, CONFIG_INET_DIAG_DESTROY). 0; -EADDRINUSE: a task has it; other
 * negative errnos where no such socket exists or it cannot be destroyed (not logged).
 */
int tcp_table_clear(const struct net_tuple *t);

#endif
