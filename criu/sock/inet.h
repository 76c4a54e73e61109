/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of IPv4 and IPv6 sockets share: addresses, options, memberships, queues. */
#ifndef CRIU_SOCK_INET_H
#define CRIU_SOCK_INET_H

#include <netinet/in.h>

#include "core/kind.h"
#include "sk-inet.pb-c.h"

/* ---- addresses (inet_addr.c) ---- */

union inet_name {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

socklen_t inet_name_len(const union inet_name *n);
uint16_t inet_name_port(const union inet_name *n); /* host order */
void inet_name_set_port(union inet_name *n, uint16_t port);
bool inet_name_is_any(const union inet_name *n); /* no address */
bool inet_name_equal(const union inet_name *a, const union inet_name *b);

/* "127.0.0.1:80", "[fe80::1%eth0]:80": from a ring of 4 buffers. */
const char *inet_name_text(const union inet_name *n);

/* For messages, in the arena: "127.0.0.1:80 connected to 127.0.0.1:4711", or what there is of it. */
const char *inet_names_of(struct arena *a, int fd);

/* Between the words of a message and an address; -EINVAL where their number is not the family's. */
void inet_name_to_words(struct arena *a, const union inet_name *n, uint32_t **words, size_t *n_words);
int inet_name_from_words(int family, const uint32_t *words, size_t n_words, uint32_t port, const char *ifname,
                         union inet_name *out);

/* ---- reading (inet_dump.c); which they are (inet.c) ---- */

bool inet_match(const struct fd_info *info);
int inet_int_option(int fd, int name); /* of SOL_SOCKET; -1: there is none */
int inet_dump(struct dump *d, const struct fd_info *info, void *msg);

/* Which directions are shut. s: what diag says, or NULL: then poll() says some of it. */
struct diag_inet;
int inet_dump_shutdown(struct dump *d, const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s);

/* inet_tcp.c */
int inet_dump_tcp(struct dump *d, const struct fd_info *info, InetSkEntry *m, const union inet_name *src);

bool inet_is_udp(const InetSkEntry *m);   /* or UDP-Lite */
bool inet_is_known(const InetSkEntry *m); /* a type and protocol that can come back */
const char *inet_what(const InetSkEntry *m);

/* ---- what only /proc/net says (inet_proc.c) ---- */

/*
 * The peer of a raw or ping socket without a port, which getpeername(2) does not give, from /proc/net/{raw,icmp}[6]. 0,
 * or -ENOENT (not logged): not connected.
 */
int inet_proc_peer(int family, bool raw, uint64_t ino, union inet_name *peer);

/* A line of those files. 0 or -EINVAL. */
int parse_proc_net_line(const char *line, int family, uint64_t *ino, union inet_name *local, union inet_name *peer);

/* A task that has the socket with this inode: "pid 812 (nginx)", or NULL. Looks at all. */
const char *inet_socket_holder(struct arena *a, uint64_t ino);

/* Who has a local port open: "pid 812 (nginx)", or NULL. protocol: TCP, UDP, UDP-Lite. */
const char *inet_port_owner(struct arena *a, int protocol, uint16_t port);

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
