/* SPDX-License-Identifier: GPL-2.0-only */
/* What the image entry of a TCP socket says of its connection: whether it has one, and its addresses. */
#ifndef CRIU_SOCK_TCP_TCP_ENTRY_H
#define CRIU_SOCK_TCP_TCP_ENTRY_H

#include "image/image.h"
#include "netlock/net_lock.h"
#include "sk-inet.pb-c.h"
#include "soccr.h"

/* Whether the socket is in a state in which it has a peer. */
bool tcp_is_connection(const InetSkEntry *m);

/* The addresses as packets have them: IPv4 ones for an IPv6 socket with mapped addresses. */
struct net_tuple tcp_tuple_of(const InetSkEntry *m);

/* The addresses as the socket has them. -EINVAL (not logged) where an image says something impossible. */
int tcp_addresses_of(const InetSkEntry *m, union soccr_addr *local, union soccr_addr *remote);

/* Connections as packets have them. */
struct tcp_tuples {
	struct net_tuple *tuples;
	size_t n;
};

/*
 * All connections of a checkpoint, read from files.img alone: for those who do not restore. Of one that is damaged what
 * stands before the damage. 0 or a negative errno (logged).
 */
int tcp_tuples_read(struct image_dir *dir, struct arena *a, struct tcp_tuples *all);

/* "10.0.0.1:80 - 10.0.0.2:4711", of a ring of 2 buffers. */
const char *tcp_tuple_text(const InetSkEntry *m);

#endif
