/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: the process that is to be told when a message comes into an empty queue (mq_notify(3)). */
#ifndef CRIU_IPC_MQUEUE_NOTIFY_H
#define CRIU_IPC_MQUEUE_NOTIFY_H

#include "mqueue.pb-c.h"
#include "tree/kind.h"

/* What the status of a queue says. */
struct mqueue_told {
	int notify, signo, pid; /* pid 0: nobody */
};

/* Fills the fields of m, of the queue of fd. A process outside of the tree is its own matter. 0 or DUMP_REFUSED. */
int mqueue_notify_dump(struct dump *d, const struct fd_info *info, int fd, const struct mqueue_told *told,
                       MqueueEntry *m);

/* When all tasks have their descriptors and the queues their messages. */
int mqueue_notify_restore(struct restore *r, const MqueueEntry *m);

#endif
