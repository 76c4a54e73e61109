/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: the contexts of asynchronous I/O (io_setup) of an address space. */
#ifndef CRIU_MM_AIO_H
#define CRIU_MM_AIO_H

#include "mm/task_mm.h"
#include "uapi/aio_ring.h"

/* One of task_mm.aio: what a restore knows of a context. */
struct aio_context {
	const VmaEntry *vma;
	uint32_t nr_req;
	struct aio_ring_head head; /* as stored; once the context has been made, with the number that it has now */
};

/* The bytes that a ring with places for nr events has mapped. */
uint64_t aio_ring_size(uint64_t nr);

/* Reads the head of a ring in a task. 0, a negative errno (not logged), -EBADMSG: what lies there is no ring. */
int aio_ring_read(pid_t pid, raddr_t at, uint64_t size, struct aio_ring_head *h);

/* Restore, before anything is started: finds the contexts in the images, and whether this kernel makes such rings. */
int aio_check(struct restore *r, const struct task *t, struct task_mm *m);

/*
 * Makes the contexts, with the positions that they had, in their places, which aio_ring_kind has reserved; then, when
 * the rings have been filled as the images have them, puts the kernel's numbers of the new contexts there.
 */
int aio_make(struct task *t, struct task_mm *m);
int aio_number(const struct task *t, const struct task_mm *m);

#endif
