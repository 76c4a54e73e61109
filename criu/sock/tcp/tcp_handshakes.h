/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The TCP connections of a network namespace whose handshake is not complete. The kernel finds them by a walk through
 * its whole table, so a thread waits for that while the dump goes on; on a detour (helper/detour.h) the caller does.
 */
#ifndef CRIU_SOCK_TCP_TCP_HANDSHAKES_H
#define CRIU_SOCK_TCP_TCP_HANDSHAKES_H

#include "common.h"

struct diag_inet;
struct tcp_handshakes;

/* Of the namespace that the calling thread is in. NULL: no memory. */
struct tcp_handshakes *tcp_handshakes_begin(void);

/* Waits for them, and calls fn for each, until fn returns non-zero, which is returned. 0 or a negative errno (not
 * logged). */
int tcp_handshakes_each(struct tcp_handshakes *h, int (*fn)(const struct diag_inet *s, void *arg), void *arg);

/* NULL is fine. */
void tcp_handshakes_end(struct tcp_handshakes *h);

#endif
