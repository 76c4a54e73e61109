/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: POSIX message queues. */
#ifndef CRIU_IPC_MQUEUE_H
#define CRIU_IPC_MQUEUE_H

#include "mqueue.pb-c.h"
#include "ipc/mqueue_holders.h"
#include "ipc/mqueue_notify.h"

/* ---- dump ---- */

/* Fills in what a queue holds, and who is told of messages; what: for messages. 0 or a negative errno (logged). */
int mqueue_read_status(const char *what, int fd, MqueueEntry *m, struct mqueue_told *told);

/* The namespace other than criu's whose queues are on that device; NULL: none. */
struct ipc_ns *mqueue_own_find(struct dump *d, uint64_t dev);

/* Adds the queues in namespaces of the tree's own that no task has open, and writes them. As above. */
int mqueue_own_collect(struct dump *d, struct mqueue_dumped **queues);
int mqueue_own_write(struct dump *d, const struct mqueue_dumped *queues);

/* ---- restore ---- */

/* Before the start, for each description: notes its queue. 0, or a negative errno with *why (as of fd_kind.check). */
int mqueue_expect(struct restore *r, const MqueueEntry *m, const char **why);

/* Those that no task had open. 0 or a negative errno (logged). */
int mqueue_own_read(struct restore *r);

/* mq_open(3) in the namespace of m. A descriptor or a negative errno. */
int mqueue_open_named(struct restore *r, const MqueueEntry *m, int flags);

/* Whether fd is of the queue of m, which exists by now. */
bool mqueue_is_same(struct restore *r, const MqueueEntry *m, int fd);

#endif
