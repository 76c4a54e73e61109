/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Epoll instances as the kernel's memory has them (lib/kernel_view.h): which description each target is, at a cost for
 * each that does not grow with their number, and whether its event waits to be fetched, which nothing else shows.
 */
#ifndef CRIU_FD_EPOLL_VIEW_H
#define CRIU_FD_EPOLL_VIEW_H

#include "tree/dump.h"

struct epoll_view_target {
	uint32_t tfd;     /* the number as which it was added */
	uint32_t file_id; /* what it is, in files.img; 0: nothing that a task of the tree has */
	bool ready;       /* its event waits */
};

/*
 * The targets of an instance (efd: a descriptor of ours), in the order of its fdinfo, from the arena. A negative errno:
 * not here, or not any more (not logged). When all descriptors of the tree are known.
 */
int epoll_view_targets(struct dump *d, int efd, struct epoll_view_target **out, size_t *n);

/* When all instances are known. */
void epoll_view_end(struct dump *d);

#endif
