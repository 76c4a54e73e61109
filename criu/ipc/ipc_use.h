/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: which System V objects of criu's ipc namespace a tree uses. Nothing names the users of one: what
 * tells is which processes have touched an object last, and which threads sleep on one. */
#ifndef CRIU_IPC_IPC_USE_H
#define CRIU_IPC_IPC_USE_H

#include "helper/ipc_ns.h"
#include "tree/dump.h"
#include "tree/restore.h"

/* A task with a thread that was in one of two calls on object `id` when it was stopped. */
struct ipc_waiter {
	int id;
	const struct task *task;
};

struct ipc_waiters {
	struct ipc_waiter *v;
	size_t n;
};

/* Of tasks that live in a namespace. */
void ipc_waiters_find(struct dump *d, const struct ipc_ns *ns, long call, long other_call, struct ipc_waiters *w);

/* The first of them on this object; NULL: none. */
const struct task *ipc_waiters_on(const struct ipc_waiters *w, int id);

/* Whether pid, which touched an object at time `last` (seconds since 1970) or before, lives and is not of the tree. */
bool ipc_is_outside(const struct tree *tree, pid_t pid, int64_t last);

#endif
