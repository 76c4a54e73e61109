/* SPDX-License-Identifier: GPL-2.0-only */
/* What only /proc/net and /proc/PID/fd show of sockets: peers of those without ports, and the task that has one. */
#ifndef CRIU_SOCK_INET_PROC_H
#define CRIU_SOCK_INET_PROC_H

#include "sock/inet_addr.h"

/*
 * The peer of a raw or ping socket without a port, which getpeername(2) does not give, from /proc/net/{raw,icmp}[6]. 0,
 * or -ENOENT (not logged): not connected.
 */
int inet_proc_peer(int family, bool raw, uint64_t ino, union inet_addr *peer);

/* A line of those files. 0 or -EINVAL. */
int inet_proc_parse_line(const char *line, int family, uint64_t *ino, union inet_addr *local, union inet_addr *peer);

/* A task that has the socket with this inode: "pid 812 (nginx)", or NULL. Goes through all of /proc. */
const char *inet_proc_holder(struct arena *a, uint64_t ino);

/* The task that has a local port open: "pid 812 (nginx)", or NULL. protocol: TCP, UDP, UDP-Lite. */
const char *inet_proc_port_owner(struct arena *a, int protocol, uint16_t port);

#endif
