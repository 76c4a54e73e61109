/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections: what sock/inet/ hands over of its sockets, under the network lock (netlock/net_lock.h), through
 * soccr. Checks before anything is changed are in tcp_check.h, ended connections in tcp_ended.h, listening sockets in
 * tcp_listen.h.
 *
 * Dump: addresses of all connections first, then the lock, then each is read once. Restore: the lock, all sockets built
 * in repair while the tree is built, and all released at its end.
 */
#ifndef CRIU_SOCK_TCP_TCP_H
#define CRIU_SOCK_TCP_TCP_H

#include "tree/kind.h"
#include "sock/tcp/tcp_build.h"
#include "sock/tcp/tcp_read.h"
#include "sk-inet.pb-c.h"

/* ---- dump ---- */

/*
 * A connection whose addresses, options and shutdown stand in m; its state is read in tcp_collected(), and m is
 * written there for kind. Returns DUMP_LATER, or DUMP_REFUSED where --tcp-established or --tcp-close is missing. With
 * --tcp-close: 0, and m is a closed socket's.
 */
int tcp_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m);

/* A socket in TCP_CLOSE, shut down both ways. listed: diag knows it, so it holds a port. 0, DUMP_LATER or an error. */
int tcp_dump_ended(struct dump *d, const struct fd_info *info, InetSkEntry *m, bool listed);

/* All are known: locks them, then reads and writes them. */
int tcp_collected(struct dump *d, const struct fd_kind *kind, const struct tcp_dump_options *options);

/* ---- restore ---- */

/* Locks all connections of the checkpoint. Before the first is opened. */
int tcp_prepare(struct restore *r, tcp_options_fn set_options);

/* Builds the connection in a new socket, which stays in repair. who: for messages. 0 or a negative errno (logged). */
int tcp_open(struct restore *r, const InetSkEntry *m, int fd, const char *who);

#endif
