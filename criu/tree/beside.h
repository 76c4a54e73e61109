/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The same work on many tasks, some of them side by side (lib/fiber.h): while one's agent has to be waited for, the
 * next one is gone on with. fn begins with the tasks in the order in which they are added; each goes up to its first
 * wait before the next one begins.
 */
#ifndef CRIU_TREE_BESIDE_H
#define CRIU_TREE_BESIDE_H

#include "lib/fiber.h"
#include "tree/task.h"

struct beside {
	int (*fn)(void *arg, struct task *t);
	void *arg;
	struct task *some[FIBERS_MAX];
	size_t n;
};

/* Runs when FIBERS_MAX have been added; the first error of them. */
int beside_add(struct beside *s, struct task *t);

/* Runs those that were added since. */
int beside_run(struct beside *s);

#endif
