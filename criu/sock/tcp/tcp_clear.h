/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef CRIU_SOCK_TCP_TCP_CLEAR_H
#define CRIU_SOCK_TCP_TCP_CLEAR_H

#include "netlock/net_lock.h"

/*
 * Takes a socket that stands in the way of a connection out of the kernel's table, if no task has it: TIME_WAIT, or one
 * that was closed and still tries to tell its peer (sock_diag(7), SOCK_DESTROY, CONFIG_INET_DIAG_DESTROY). 0;
 * -EADDRINUSE: some task's; other negative errnos where it is not there or cannot be done (not logged).
 */
int tcp_clear_way(const struct net_tuple *t);

#endif
