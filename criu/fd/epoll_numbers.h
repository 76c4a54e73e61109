/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptor numbers as an epoll instance knows them: a file is found in it by its description and the number under
 * which it was added. Adding under given numbers, and asking what is under a number, are done in a descriptor table of
 * their own, in which these numbers are free.
 */
#ifndef CRIU_FD_EPOLL_NUMBERS_H
#define CRIU_FD_EPOLL_NUMBERS_H

#include "common.h"

#define EPOLL_BATCH 128

struct epoll_one {
	int fd;     /* ours */
	int number; /* what it is to be added as */
	uint32_t events;
	uint64_t data;
	bool
	    seen; /* of EPOLLET: the edge that comes now is an old one: it is taken. No other event may be ready then */
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

/*
 * Whether an instance watches what a task has under a number now. kcmp(2) tells too, but walks the whole instance for
 * each; epoll_ctl(2) finds it at once.
 */
struct epoll_guess {
	int number;
	uint32_t events;
	uint64_t data;
	bool right; /* the answer; false: not known */
};

/* Whether one with these events can be asked for: it is set to what it is, which must change nothing. */
bool epoll_can_guess(uint32_t events);

/* efd, pidfd: ours, of the instance and the task. All numbers must be different. */
void epoll_guess(int efd, int pidfd, struct epoll_guess *g, size_t n);

#endif
