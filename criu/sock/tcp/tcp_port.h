/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A port at which a server's connections have just ended. The kernel keeps them for a while (TIME_WAIT; one that was
 * closed and still sends its rest), and without SO_REUSEADDR lets nobody bind there. The server itself was bound before
 * them; so comes back where only such remains are in the way.
 */
#ifndef CRIU_SOCK_TCP_TCP_PORT_H
#define CRIU_SOCK_TCP_TCP_PORT_H

#include "sock/inet_addr.h"

/* Before anything is started: nobody's socket is at this port but the kernel's own. */
bool tcp_port_is_left(struct arena *a, uint16_t port);

/* What bind() and listen() refused with EADDRINUSE. 0 or a negative errno (not logged): -EADDRINUSE, somebody listens.
 */
int tcp_port_bind(struct arena *a, int fd, const union inet_addr *n);
int tcp_port_listen(struct arena *a, int fd, const union inet_addr *n, int backlog);

#endif
