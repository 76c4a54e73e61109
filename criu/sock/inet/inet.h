/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of IPv4 and IPv6 sockets share: addresses, options, memberships, queues. */
#ifndef CRIU_SOCK_INET_INET_H
#define CRIU_SOCK_INET_INET_H

#include "sock/inet_addr.h"
#include "sock/inet_proc.h"
#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/* ---- reading (inet_dump.c); which they are (inet.c) ---- */

bool inet_match(const struct fd_info *info);
int inet_int_option(int fd, int name); /* of SOL_SOCKET; -1: there is none */
int inet_dump(struct dump *d, const struct fd_info *info, void *msg);

/* Which directions are shut. s: what diag says, or NULL: then poll() says some of it. */
struct diag_inet;
int inet_dump_shutdown(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s);

/* inet_tcp.c */
int inet_dump_tcp(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_addr *src);

bool inet_is_udp(const InetSkEntry *m);   /* or UDP-Lite */
bool inet_is_known(const InetSkEntry *m); /* a type and protocol that can come back */
const char *inet_what(const InetSkEntry *m);

/* ---- options (inet_opts.c) ---- */

/* Of m->state it takes whether it is a connection. As sock_opts_dump(), any thread may call it. */
int inet_opts_dump(struct arena *a, const struct fd_info *info, InetSkEntry *m);

/* Before bind(), and at the end. */
int inet_opts_early(struct restore *r, int fd, const InetSkEntry *m, const char *who);
int inet_opts_late(struct restore *r, int fd, const InetSkEntry *m, const char *who);

/* ---- multicast (inet_mcast.c) ---- */

int inet_mcast_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m);
int inet_mcast_restore(struct restore *r, int fd, const InetSkEntry *m, const char *who);

/* ---- queues of UDP (inet_queue.c) ---- */

/*
 * Puts the datagrams that waited into the socket, each from its sender. member: how many others of its SO_REUSEPORT
 * group were bound before. What is impossible is a warning.
 */
int inet_queue_restore(struct restore *r, int fd, const InetSkEntry *m, uint32_t member, const char *who);

#endif
