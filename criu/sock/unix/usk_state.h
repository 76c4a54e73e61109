/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How far a unix socket has come during a restore: one state of each machine below. They change by the functions at the
 * end alone, which refuse a step that is not listed here: then the image contradicts itself, or criu has a bug.
 */
#ifndef CRIU_SOCK_UNIX_USK_STATE_H
#define CRIU_SOCK_UNIX_USK_STATE_H

/* Which files of the tree refer to the socket. NONE -> QUEUE or TABLE, once, before anything is made. */
enum usk_use {
	USE_NONE,  /* none: it lies outside of the tree, or has ended */
	USE_QUEUE, /* it is only in flight, in the queue of another socket */
	USE_TABLE, /* a descriptor table has it */
};

/* How our descriptor came to be. NOT_YET -> any other, once. */
enum usk_made {
	MADE_NOT_YET,
	MADE_PLAIN,     /* socket(2) */
	MADE_INHERITED, /* --inherit-fd */
	MADE_HALF,      /* of datagrams: socketpair(2) */
	MADE_END,       /* of a connection: connect(2), or socketpair(2) */
	MADE_ACCEPTED,  /* of a connection: accept(2); its name is its listener's */
};

/*
 * What it is connected to.
 *
 *	NONE -> DONE         connected to its peer, or a datagram socket that is to have none
 *	NONE -> LISTENING    of a listening socket
 *	NONE -> HALF         made by socketpair(2), but the other half is not its peer
 *	HALF -> PARTED       disconnected from that half; its peer follows
 *	HALF -> DONE         the same for one without a peer; or the other half, a temporary peer, is closed
 *	PARTED -> DONE       connected to its peer
 */
enum usk_link {
	LINK_NONE,
	LINK_LISTENING,
	LINK_HALF,
	LINK_PARTED,
	LINK_DONE,
};

/* Where its name leads to it. NOWHERE -> ABSTRACT, SCRATCH or HIDDEN, by bind(2); HIDDEN -> FILE at the end. */
enum usk_at {
	AT_NOWHERE,  /* it has no name, or its listener's */
	AT_ABSTRACT, /* an abstract name */
	AT_SCRATCH,  /* a file in a root of our own */
	AT_HIDDEN,   /* a file in a folder of ours beside its place */
	AT_FILE,     /* in its place */
};

/* A temporary peer of ours, in place of one that is gone. NONE -> UNNAMED -> NAMED; NONE again when it is closed. */
enum usk_temp {
	TEMP_NONE,
	TEMP_UNNAMED,
	TEMP_NAMED,
};

struct usk;

/* Steps of the machines: 0, or -EBADMSG (logged) for one that is not listed above. */
int usk_set_use(struct usk *u, enum usk_use use);
int usk_set_made(struct usk *u, enum usk_made how, int fd); /* fd is u's from here on */
int usk_set_link(struct usk *u, enum usk_link link);
int usk_set_at(struct usk *u, enum usk_at at);
int usk_set_temp(struct usk *u, int fd); /* NONE -> UNNAMED; fd is u's from here on */
int usk_set_temp_named(struct usk *u);
int usk_take_temp(
    struct usk *u); /* -> NONE: the descriptor, which the caller closes; -1 where it has no temporary peer */

#endif
