/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A port at which a server's connections have just ended. The kernel keeps them for a while (TIME_WAIT; one that was
 * closed and still sends its rest), and refuses every bind() without SO_REUSEADDR until then. The dumped server was
 * bound before them, so it is bound again where only such remains are in the way.
 */
#ifndef CRIU_SOCK_TCP_TCP_PORT_H
#define CRIU_SOCK_TCP_TCP_PORT_H

#include "sock/inet_addr.h"

/* Before anything is started: no task has a socket at this port, only remains are left. */
bool tcp_port_is_left(struct arena *a, uint16_t port);

/*
 * For a bind() or listen() that was refused with EADDRINUSE. 0 or a negative errno (not logged): -EADDRINUSE where
 * another socket listens at the port.
 */
int tcp_port_bind(struct arena *a, int fd, const union inet_addr *n);
int tcp_port_listen(struct arena *a, int fd, const union inet_addr *n, int backlog);

#endif
