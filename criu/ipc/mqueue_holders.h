/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: queues of a dump, and which of them processes outside of the tree have open. */
#ifndef CRIU_IPC_MQUEUE_HOLDERS_H
#define CRIU_IPC_MQUEUE_HOLDERS_H

#include "helper/ipc_ns.h"
#include "mqueue.pb-c.h"
#include "tree/dump.h"

struct mqueue_dumped {
	struct ipc_ns *ns; /* NULL: criu's */
	bool unopened;     /* by any task: it is in the namespace */
	uint64_t dev, ino;
	MqueueEntry *entry; /* the first of its descriptions */
	const char *what;   /* its descriptor, for messages */
	int fd;             /* for reading and writing, does not block; ours */
	pid_t holder;       /* a process outside of the tree that has it open; 0: none has */
	struct mqueue_dumped *next;
};

/* Sets the holders. One walk through /proc for all. */
void mqueue_holders_find(const struct dump *d, struct mqueue_dumped *queues);

#endif
