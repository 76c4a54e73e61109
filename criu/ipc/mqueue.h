/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: POSIX message queues at restore. */
#ifndef CRIU_IPC_MQUEUE_H
#define CRIU_IPC_MQUEUE_H

#include "mqueue.pb-c.h"
#include "tree/restore.h"

/* Before the start, for each description: notes its queue. 0, or a negative errno with *why (as of fd_kind.check). */
int mqueue_expect(struct restore *r, const MqueueEntry *m, const char **why);

/* Whether fd is of the queue of m, which exists by now. */
bool mqueue_is_same(struct restore *r, const MqueueEntry *m, int fd);

#endif
