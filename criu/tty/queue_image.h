/* SPDX-License-Identifier: GPL-2.0-only */
/* Queues of terminals in tty-data.img: bytes, and what is known of them beside. */
#ifndef CRIU_TTY_QUEUE_IMAGE_H
#define CRIU_TTY_QUEUE_IMAGE_H

#include "lib/arena.h"
#include "tty.pb-c.h"
#include "tty/queue.h"

/* Fills both queues of q; NULL: that one is empty. Negative errno (logged). */
int queue_from_data(const TtyDataEntry *master, const TtyDataEntry *slave, struct tty_queue *q);

/* The message for one queue. */
TtyDataEntry *queue_to_data(struct arena *a, uint32_t id, const struct tty_queue *q, bool master);

#endif
