/* SPDX-License-Identifier: GPL-2.0-only */
/* Adding to an epoll instance under given descriptor numbers: part of the key that the kernel keeps. */
#ifndef CRIU_FD_EPOLL_ADD_H
#define CRIU_FD_EPOLL_ADD_H

#include "common.h"

#define EPOLL_BATCH 128

struct epoll_one {
	int fd;     /* ours */
	int number; /* what it is to be added as */
	uint32_t events;
	uint64_t data;
	bool seen; /* of EPOLLET: an edge that comes now is an old one, and taken; no other event may be in the instance
	            */
};

struct epoll_batch {
	int epfd;
	size_t n;
	struct epoll_one one[EPOLL_BATCH];
	const struct epoll_one *failed;
};

/* An EPOLLONESHOT that has fired: it waits for nothing, not even for errors. */
bool epoll_is_disarmed(uint32_t events);

/* Whether a descriptor may have this number here; raises our limit where that is allowed. */
bool epoll_number_possible(int number);

/*
 * Adds all of them, in a descriptor table of its own, so that no descriptor is in the way of a number. 0 or a negative
 * errno (not logged), and b->failed where it was one of them.
 */
int epoll_add_batch(struct epoll_batch *b);

#endif
