/* SPDX-License-Identifier: GPL-2.0-only */
/* For the words of a refusal: who has a file that is watched by an epoll instance of the tree, but is not in the tree.
 */
#ifndef CRIU_FD_WATCHED_BY_H
#define CRIU_FD_WATCHED_BY_H

#include "tree/dump.h"

struct watched_by {
	pid_t pid; /* who has the instance, and as which number */
	int efd;
	uint32_t tfd, nth; /* the number that it was added as, and which of those with that number */
	/* the answer */
	pid_t holder;
	int number;
	char comm[16];
	bool in_tree;
};

/* Looks through all processes, unless there were more than 8 refusals already. 1: found; 0: not, or no longer looked
 * for. */
int watched_by_find(struct dump *d, dev_t dev, uint64_t ino, struct watched_by *by);

#endif
