/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: the messages of a POSIX queue, which nothing shows but taking them out. */
#ifndef CRIU_IPC_MQUEUE_DRAIN_H
#define CRIU_IPC_MQUEUE_DRAIN_H

#include "mqueue.pb-c.h"
#include "tree/dump.h"

/*
 * Copies all messages into m. fd is for reading and writing, and does not block. They are taken out and put back in
 * their order, by a process that ends neither with criu nor by a signal that ends criu; the tree stands still, and no
 * other process has the queue open. 0 or a negative errno (logged).
 */
int mqueue_drain_copy(struct dump *d, int fd, MqueueEntry *m);

#endif
