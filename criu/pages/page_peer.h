/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The protocol of page servers, CRIU's, and the connection that it is spoken over. Requests of 32 bytes go to the
 * server, behind some of them pages; a few have an answer.
 */
#ifndef CRIU_PAGES_PAGE_PEER_H
#define CRIU_PAGES_PAGE_PEER_H

#include <sys/uio.h>

#include "common.h"

struct options;
struct page_tls;

enum page_command {
	PAGES_ADD = 1,    /* old: ADD_F with PE_PRESENT */
	PAGES_HOLE = 2,   /* old: ADD_F with PE_PARENT */
	PAGES_OPEN = 3,   /* old: the images of an id begin */
	PAGES_OPEN2 = 4,  /* the same; answer: a byte, whether the server's directory has a parent of them */
	PAGES_PARENT = 5, /* the same question alone; answer: 32 bits */
	PAGES_ADD_F = 6,  /* n pages at an address, which follow where the flags have PE_PRESENT */
	PAGES_GET = 7,
	PAGES_CLOSE = 0x1023,       /* all is sent; answer: 32 bits, 0: all is written */
	PAGES_FORCE_CLOSE = 0x1024, /* the same where others may hold the connection open */
};

#define PAGES_FLAGS_SHIFT      16 /* of the entry's flags (PE_*), above the command */

/* What an id is: bits 0 to 7; the pid or the object's number above them. */
#define PAGES_OF_TASK          1U
#define PAGES_OF_OBJECT        2U
#define PAGES_ID(number, type) ((number) << 8 | (type))

/* As it goes over the wire, in the byte order of the machine, as CRIU has it. */
struct page_request {
	uint32_t command; /* and flags */
	uint32_t unused;
	uint64_t n, at, id;
};

struct page_peer {
	int fd;
	bool inherited;
	unsigned limit;       /* milliseconds in which something has to come or go */
	struct page_tls *tls; /* NULL: plain */
};

/* A peer may be busy with the rest of a dump between two requests, or with its disk: so many times the limit. */
#define PAGE_PEER_PATIENCE 6U
#define PAGE_PEER_FOR_EVER UINT32_MAX /* but not for a host that is gone (page_peer_keep_alive()) */

/*
 * All of len bytes, or a negative errno, not logged: -ETIMEDOUT: not within `patience` times the limit, nor each part
 * within the limit; -ENODATA: the connection has ended before the first byte; -EPIPE: in the middle.
 */
int page_peer_receive(const struct page_peer *p, void *buf, size_t len, unsigned patience);

/* Sends all; the list is used up. 0 or a negative errno, not logged. */
int page_peer_send(const struct page_peer *p, struct iovec *list, size_t n);

/* ---- page_connect.c: 0 or a negative errno (logged) ---- */

/* To the server of --address and --port, or what --ps-socket has inherited. */
int page_peer_connect(const struct options *o, struct page_peer *p);

/* Waits there for a connection; *port: the one that it has become. With --ps-socket nothing is to be done. */
int page_peer_listen(const struct options *o, int *listener, unsigned *port);
int page_peer_accept(const struct options *o, int listener, struct page_peer *p);

/* A host that does not answer any more ends the connection, within some times the limit, when nothing is said. */
void page_peer_keep_alive(const struct page_peer *p);

/* Closes the connection, unless it was inherited. */
void page_peer_close(struct page_peer *p);

#endif
