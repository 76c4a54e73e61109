/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a connection can be dumped, and whether it can be restored on this host: before anything is changed. */
#ifndef CRIU_SOCK_TCP_TCP_CHECK_H
#define CRIU_SOCK_TCP_TCP_CHECK_H

#include "tree/kind.h"
#include "sk-inet.pb-c.h"

/*
 * Dump: what of a connection TCP_REPAIR cannot read (a ULP, MPTCP), or would put secrets into images (MD5, TCP-AO), for
 * a refusal; in the arena. NULL where the connection has nothing of that. s: what diag says, or NULL.
 */
struct diag_inet;
const char *tcp_check_beyond_repair(struct dump *d, int fd, const struct diag_inet *s);

/* Restore: options, addresses and the image. 0 or a negative errno (not logged) with *why in the arena. */
int tcp_check(struct restore *r, const InetSkEntry *m, const char **why);

/* Restore: no other socket of this host has the connection's addresses. As tcp_check(). */
int tcp_check_free(struct restore *r, const InetSkEntry *m, const char **why);

/*
 * --tcp-fallback close: the connection is restored closed instead. Before tcp_prepare(), or when tcp_open() has failed.
 */
void tcp_give_up(struct restore *r, const InetSkEntry *m);
bool tcp_given_up(struct restore *r, const InetSkEntry *m);
bool tcp_gave_up_any(struct restore *r);

#endif
