/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * TCP connections: what sock/inet/inet.c hands over of its sockets, under the network lock (netlock/net_lock.h),
 * through soccr.
 *
 * Dump: addresses of all connections first, then the lock, then each is read once. Restore: the lock, all sockets built
 * in repair while the tree is built, and all released at its end.
 */
#ifndef CRIU_SOCK_TCP_TCP_H
#define CRIU_SOCK_TCP_TCP_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/* Whether an entry is one of ours: TCP, in a state with a peer. */
bool tcp_is_connection(const InetSkEntry *m);

/* ---- dump ---- */

/*
 * A connection whose addresses, options and shutdown stand in m; its state is read in tcp_collected(), and m is
 * written there for kind. Returns DUMP_LATER, or DUMP_REFUSED where --tcp-established or --tcp-close is missing. With
 * --tcp-close: 0, and m is a closed socket's.
 */
int tcp_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m);

/* One in TCP_CLOSE that is shut both ways. listed: diag knows it, so it holds a port. 0, DUMP_LATER or an error. */
int tcp_dump_ended(struct dump *d, const struct fd_info *info, InetSkEntry *m, bool listed);

/* dump_options: fills the options of IP and TCP; any thread may call it. */
typedef int (*tcp_dump_options_fn)(struct arena *a, const struct fd_info *info, InetSkEntry *m);
int tcp_collected(struct dump *d, const struct fd_kind *kind, tcp_dump_options_fn dump_options);

/* ---- restore ---- */

/* Before anything is started: the option, the image and what is in it. */
int tcp_check(struct restore *r, const InetSkEntry *m, const char **why);
int tcp_check_free(struct restore *r, const InetSkEntry *m, const char **why);
int tcp_check_ended(struct restore *r, const InetSkEntry *m, const char **why);

/* --tcp-fallback close: it is made closed instead. Before tcp_prepare(), or when tcp_open() has failed. */
void tcp_give_up(struct restore *r, const InetSkEntry *m);
bool tcp_given_up(struct restore *r, const InetSkEntry *m);

/*
 * Locks all connections of the checkpoint. Before the first is opened. set_options: what has to wait
 * until the queues are full (buffer sizes, TCP_CORK).
 */
typedef int (*tcp_options_fn)(struct restore *r, int fd, const InetSkEntry *m);
int tcp_prepare(struct restore *r, const struct fd_kind *kind, tcp_options_fn set_options);

/* Builds the connection in a new socket, which stays in repair. who: for messages. 0 or a negative errno (logged). */
int tcp_open(struct restore *r, const InetSkEntry *m, int fd, const char *who);

#endif
