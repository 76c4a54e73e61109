/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whether an epoll instance watches what a task has under a number by now. kcmp(2) tells too, but walks the whole
 * instance for each; epoll_ctl(2) finds it at once.
 */
#ifndef CRIU_FD_EPOLL_FIND_H
#define CRIU_FD_EPOLL_FIND_H

#include "common.h"

struct epoll_guess {
	int number;
	uint32_t events;
	uint64_t data;
	bool right; /* the answer; false: it is not known */
};

/* Whether one with these events can be asked for: it is set to what it is, which must mean nothing. */
bool epoll_can_guess(uint32_t events);

/* efd, pidfd: ours, of the instance and the task. No number may stand there twice. */
void epoll_guess(int efd, int pidfd, struct epoll_guess *g, size_t n);

#endif
