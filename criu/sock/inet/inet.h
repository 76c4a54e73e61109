/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of IPv4 and IPv6 sockets offer each other. who: the socket, for messages. */
#ifndef CRIU_SOCK_INET_INET_H
#define CRIU_SOCK_INET_INET_H

#include "sock/inet_addr.h"
#include "sock/inet_proc.h"
#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/* ---- what an entry or a socket is (inet_entry.c) ---- */

bool inet_is_udp(const InetSkEntry *m);
bool inet_is_tcp(const InetSkEntry *m);      /* or UDP-Lite */
bool inet_is_known(const InetSkEntry *m);    /* a type and protocol that can be restored */
const char *inet_what(const InetSkEntry *m); /* "UDP socket" */
int inet_int_option(int fd, int name);       /* of SOL_SOCKET; -1 where the socket has no such option */

/* "UDP socket 127.0.0.1:53", in the arena. */
const char *inet_who(struct restore *r, const InetSkEntry *m);

/* The owner of the socket's inode; a failure is a warning. */
void inet_set_owner(struct restore *r, int fd, const InetSkEntry *m, const char *who);

/* ---- addresses and ports (inet_bind.c) ---- */

/* Dump: the socket's own address and its peer's, into m as well (dst family 0: it has no peer). */
int inet_bind_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, union inet_addr *src,
                   union inet_addr *dst);

/* Restore, of each socket before any is checked: sockets with the same protocol and port are bound side by side. */
void inet_bind_count_port(struct restore *r, const InetSkEntry *m);

/*
 * Before anything is started, with a socket of our own: whether m can be bound to n, or whether this host has the
 * address n at least, where the port may be shared. 0 or a negative errno (not logged) with *why in the arena.
 */
int inet_bind_check(struct restore *r, const InetSkEntry *m, const union inet_addr *n, const char **why);
int inet_bind_check_address(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why);

/* Sets only the options without which the address of m could not be bound. device: SO_BINDTODEVICE as well. */
void inet_bind_set_options(struct restore *r, int fd, const InetSkEntry *m, bool device);

/*
 * Binds and connects. 0, a negative errno (logged), or 1: a connected socket got another address this way; a new one
 * has to be bound with inet_bind_exactly().
 */
int inet_bind(struct restore *r, int fd, const InetSkEntry *m, const char *who);
int inet_bind_exactly(int fd, const InetSkEntry *m, const char *who);

/*
 * SO_REUSEADDR as long as others with the same port are bound, and as it was when all are; SO_REUSEPORT, too, where
 * the sockets cannot have come to one address without it.
 */
int inet_bind_share_port(struct restore *r, int fd, const InetSkEntry *m, const char *who);
int inet_bind_unshare_port(struct restore *r, int fd, const InetSkEntry *m);

/* Enters a socket with a queue into its SO_REUSEPORT group; returns how many of the group were bound before it. */
uint32_t inet_bind_join_group(struct restore *r, const InetSkEntry *m);

/* ---- shutdown (inet_shutdown.c) ---- */

/* s: what diag says, or NULL: then poll() says some of it. */
struct diag_inet;
int inet_shutdown_dump(const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s);
int inet_shutdown_restore(int fd, const InetSkEntry *m, const char *who);

/* ---- TCP (inet_tcp.c): listening sockets, connections and ended ones, each in sock/tcp/ ---- */

int inet_tcp_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src);
int inet_tcp_check_connection(struct restore *r, const InetSkEntry *m, union inet_addr *n, const char **why);

/* Whether it is restored as a connection or as what is left of one, by inet_tcp_open(); else as a plain socket. */
bool inet_has_peer(const InetSkEntry *m);
int inet_tcp_open(struct restore *r, const InetSkEntry *m, const char *who);
int inet_tcp_set_options(struct restore *r, int fd, const InetSkEntry *m); /* see tcp_options_fn */

/* ---- options (inet_opts.c) ---- */

/* Of m->state it takes whether it is a connection. As sock_opts_dump(), any thread may call it. */
int inet_opts_dump(struct arena *a, const struct fd_info *info, InetSkEntry *m);
/* A connection whose m has the options of another one: those that the kernel changes by itself are asked. */
int inet_opts_dump_moving(struct arena *a, const struct fd_info *info, InetSkEntry *m);

/* Before bind(), and at the end. new: see sock/opts.h. */
struct sock_new *inet_opts_new(struct restore *r, const InetSkEntry *m);
int inet_opts_early(struct restore *r, int fd, const InetSkEntry *m, struct sock_new *new, const char *who);
int inet_opts_late(struct restore *r, int fd, const InetSkEntry *m, struct sock_new *new, const char *who);

/* ---- SO_REUSEPORT groups (inet_reuseport.c) ---- */

/* Refuses a program that chooses in its group, where that can be seen. 0 or DUMP_REFUSED. */
int inet_reuseport_check(struct dump *d, const struct fd_info *info, const SkOptsEntry *opts);

/* ---- multicast (inet_mcast.c) ---- */

int inet_mcast_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m);
int inet_mcast_restore(struct restore *r, int fd, const InetSkEntry *m, const char *who);

/* ---- queues of UDP (inet_queue.c) ---- */

/* Refuses data that was not sent yet. 0, DUMP_REFUSED or a negative errno (logged). */
int inet_queue_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m);

/*
 * Puts the datagrams that waited into the socket, each from its sender. member: how many others of its SO_REUSEPORT
 * group were bound before. What is impossible is a warning.
 */
int inet_queue_restore(struct restore *r, int fd, const InetSkEntry *m, uint32_t member, const char *who);

#endif
