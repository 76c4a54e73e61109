/* SPDX-License-Identifier: GPL-2.0-only */
/* Between unix_late.c and unix_senders.c. */
#ifndef CRIU_SOCK_UNIX_UNIX_LATE_H
#define CRIU_SOCK_UNIX_UNIX_LATE_H

#include "sock/unix/unix_restore.h"

/* Connects a datagram socket as its entry says, if it is not yet. */
int unix_connect_dgram(struct restore *r, struct usk *u);

/* Whether something waits in it from a sender with an abstract name, who is connected elsewhere or to nobody. */
bool unix_needs_owner(struct restore *r, const struct usk *u);

/* Brings back the n messages that wait in a datagram socket, from senders with the names that they had. */
int unix_fill_dgram(struct restore *r, struct usk *u, size_t n);

/* Gives the other half of a datagram socketpair, which will be gone, the name that it had, when it has none yet. */
int unix_name_half(struct restore *r, struct usk *u, const char *name, size_t len);

/* First of all: what the other half of a socketpair sent before it was connected elsewhere. */
int unix_fill_born(struct restore *r, struct usk *u);

#endif
