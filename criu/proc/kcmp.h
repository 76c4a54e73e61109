/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Equal kernel objects by kcmp(2): which tasks share their memory, which descriptors one open file description. kcmp
 * orders as well as compares, so that n objects cost n log n calls.
 */
#ifndef CRIU_PROC_KCMP_H
#define CRIU_PROC_KCMP_H

#include "common.h"
#include "lib/arena.h"

/* One object, as the first holder that was seen has it. */
struct kcmp_node {
	pid_t pid;
	int fd;           /* for KCMP_FILE */
	uint32_t id;      /* the caller's; 0 in a new node */
	const void *data; /* the caller's; NULL in a new node */
	struct kcmp_node *less, *more;
};

struct kcmp_tree {
	struct kcmp_node *root;
};

/*
 * Finds or adds the object of `type` (KCMP_FILE, KCMP_VM, ..., linux/kcmp.h) that pid (and its descriptor fd) holds.
 * A new node has id 0. 0 or a negative errno (not logged): -EPERM where the task may not be traced, -ESRCH.
 */
int kcmp_find(struct kcmp_tree *tree, struct arena *a, int type, pid_t pid, int fd, struct kcmp_node **nodep);

/*
 * In a tree of files: the one that the epoll instance slot->efd of pid holds (KCMP_EPOLL_TFD). 0 and *nodep, which is
 * NULL where the object is not among them, or a negative errno (not logged).
 */
struct kcmp_epoll_slot;
int kcmp_find_watched(const struct kcmp_tree *tree, pid_t pid, const struct kcmp_epoll_slot *slot,
                      struct kcmp_node **nodep);

#endif
