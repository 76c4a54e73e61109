/* SPDX-License-Identifier: GPL-2.0-only */
/* The ring of an AIO context, as a task has it mapped (linux/fs/aio.c: no header has it). */
#ifndef CRIU_UAPI_AIO_RING_H
#define CRIU_UAPI_AIO_RING_H

#include <linux/aio_abi.h>
#include <stdint.h>

#define AIO_RING_MAGIC  0xa10a10a1U
#define AIO_RING_EVENTS 0x10000000U /* no more bytes of events than this: io_setup() says EINVAL */

struct aio_ring_head {
	uint32_t id;         /* the kernel's number of the context in this address space */
	uint32_t nr;         /* places for events */
	uint32_t head, tail; /* the next to be read and to be written; equal: nothing is unread */
	uint32_t magic, compat_features, incompat_features;
	uint32_t header_length;
	/* struct io_event [nr] */
};

static inline uint32_t aio_ring_unread(const struct aio_ring_head *h)
{
	return h->tail >= h->head ? h->tail - h->head : h->tail + h->nr - h->head;
}

#endif
