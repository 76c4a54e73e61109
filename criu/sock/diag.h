/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel's socket diagnostics (sock_diag(7)) show of the sockets of a dump, in the network namespace that the
 * caller is in (files/net_ns.h). A family is queried once, for all its sockets in one answer, when the first of its
 * sockets is met: a missing diag module is no error before that. The first sockets of TCP are queried one by one.
 * Sockets are found by SO_COOKIE; by inode only as peers, for which the kernel gives nothing else.
 */
#ifndef CRIU_SOCK_DIAG_H
#define CRIU_SOCK_DIAG_H

#include "tree/kind.h"

/* linux/unix_diag.h */
struct diag_unix {
	uint64_t cookie;
	uint32_t ino;
	uint8_t type;              /* SOCK_* */
	uint8_t state;             /* TCP_ESTABLISHED, TCP_LISTEN, TCP_CLOSE */
	uint8_t shutdown;          /* RCV_SHUTDOWN 1, SEND_SHUTDOWN 2 */
	const char *name;          /* as bound: a leading zero byte is abstract; not terminated */
	size_t name_len;           /* 0: unnamed */
	bool has_vfs;              /* bound to a file, which has: */
	uint32_t vfs_dev, vfs_ino; /* dev as the kernel has it (major << 20 | minor) */
	uint32_t peer;             /* inode; 0: none, or a connection that is not accepted yet */
	const uint32_t
	    *icons; /* listening: inodes of the clients that wait to be accepted; 0 for those that are closed */
	size_t n_icons;
	uint32_t rqueue, wqueue; /* listening: waiting clients and backlog; else bytes */
};

/* linux/inet_diag.h: UDP, UDP-Lite, TCP, raw */
struct diag_inet {
	uint64_t cookie;
	uint32_t ino;
	uint8_t family, protocol, state, shutdown;
	uint16_t sport, dport;   /* host order */
	uint32_t src[4], dst[4]; /* network order words */
	uint32_t ifindex;
	uint32_t rqueue, wqueue; /* listening: waiting clients and backlog */
	bool v6only;
	bool has_md5; /* keys of TCP_MD5SIG */
};

/* linux/netlink_diag.h */
struct diag_netlink {
	uint64_t cookie;
	uint32_t ino;
	uint8_t type, protocol, state;
	uint32_t portid, dst_portid, dst_group;
	const uint32_t *groups; /* bit N-1 of the words: a member of group N */
	size_t n_groups;        /* words */
	uint32_t flags;         /* NDIAG_FLAG_* */
};

/* linux/packet_diag.h */
struct diag_packet_mc {
	int32_t ifindex;
	uint32_t count;
	uint16_t type, alen;
	uint8_t addr[32];
};

struct diag_packet {
	uint64_t cookie;
	uint32_t ino;
	uint8_t type;
	uint16_t num; /* protocol, host order */
	int32_t ifindex;
	uint32_t version, reserve, copy_thresh, tstamp, flags; /* PDI_* */
	const struct diag_packet_mc *mc;
	size_t n_mc;
	const void *rx_ring, *tx_ring; /* struct packet_diag_ring, or NULL */
	bool has_fanout;
	uint32_t fanout;
};

/*
 * The socket behind a descriptor of ours, by its SO_COOKIE. 0 and *out; -ENOENT (not logged) where the kernel does not
 * list it (an unbound, unconnected UDP or TCP socket is in no table); other errors are logged: no diag for the family,
 * with the name of the module or kernel option that is missing. protocol: IPPROTO_*.
 */
int diag_find_unix(struct dump *d, int fd, const struct diag_unix **out);
int diag_find_inet(struct dump *d, int fd, int family, int protocol, const struct diag_inet **out);
int diag_find_netlink(struct dump *d, int fd, const struct diag_netlink **out);
int diag_find_packet(struct dump *d, int fd, const struct diag_packet **out);

/* A unix socket by inode (a peer); NULL where the kernel lists none such. Only after a diag_find_unix(). */
const struct diag_unix *diag_unix_by_ino(struct dump *d, uint32_t ino);

/*
 * Calls fn for each TCP socket of a family that the kernel lists, until fn returns non-zero, which is returned; or a
 * negative errno (logged). The list takes milliseconds, where it is not there yet (diag_has_all_tcp()).
 */
int diag_each_tcp(struct dump *d, int family, int (*fn)(const struct diag_inet *s, void *arg), void *arg);
bool diag_has_all_tcp(struct dump *d, int family);

/*
 * The parsers, for tests and fuzzing: one answer of len bytes behind its nlmsghdr. 0 or -EBADMSG; what *out points to
 * is copied into the arena.
 */
int diag_parse_unix(struct arena *a, const void *answer, size_t len, struct diag_unix *out);
int diag_parse_inet(struct arena *a, const void *answer, size_t len, struct diag_inet *out);
int diag_parse_netlink(struct arena *a, const void *answer, size_t len, struct diag_netlink *out);
int diag_parse_packet(struct arena *a, const void *answer, size_t len, struct diag_packet *out);

#endif
