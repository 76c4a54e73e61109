/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of asynchronous I/O (io_setup). A ring is the context too: its address is the context's id, and follows the
 * mapping when that moves. Requests in flight: mm/aio_flight.c; a restore: mm/aio_make.c.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/code.h"
#include "arch_page.h"
#include "lib/log.h"
#include "mm/aio.h"

extern const struct vma_kind aio_ring_kind;

uint64_t aio_ring_size(uint64_t nr)
{
	return round_up(sizeof(struct aio_ring_head) + nr * sizeof(struct io_event), PAGE_SIZE);
}

int aio_ring_read(pid_t pid, raddr_t at, uint64_t size, struct aio_ring_head *h)
{
	int err = agent_read_task(pid, at, h, sizeof(*h));

	if (err)
		return err;
	if (h->magic != AIO_RING_MAGIC || h->header_length != sizeof(*h) || aio_ring_size(h->nr) != size)
		return -EBADMSG;
	return h->head < h->nr && h->tail < h->nr ? 0 : -EBADMSG;
}

static bool aio_ring_match(struct dump *d, const struct proc_map *m)
{
	return !m->major && !strncmp(m->name, "/[aio]", 6);
}

/*
 * How many requests io_setup() was asked for is not shown. It says how much of fs.aio-max-nr the context takes and how
 * large the ring is, which has whole pages: the smallest number with the same ring takes least of what all share.
 */
static uint32_t requests_of_ring(uint64_t size)
{
	uint64_t smaller =
	    (size - PAGE_SIZE) / sizeof(struct io_event); /* places of a ring with a page less, and a head */

	return size <= PAGE_SIZE ? 1 : (uint32_t)((smaller - 1 - 2) / 2 + 1);
}

static int aio_ring_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	AioRingEntry *a = arena_msg(d->arena, AioRingEntry, aio_ring_entry);
	struct aio_ring_head h;
	int err = m->pgoff ? -EBADMSG : aio_ring_read(t->pid, m->start, m->end - m->start, &h);

	if (err) {
		log_refusal(err, "%s: mapping %" PRIx64 "-%" PRIx64 " of %s: %s; io_destroy() it before the dump",
		            task_name(t), m->start, m->end, m->name,
		            err == -EBADMSG ? "a part of a ring of asynchronous I/O, or its head was written over"
		                            : "process_vm_readv of its head failed");
		return VMA_LEFT_OUT;
	}
	a->id = m->start;
	a->ring_len = (uint32_t)(m->end - m->start);
	a->nr_req = requests_of_ring(a->ring_len);
	arena_push(d->arena, &t->mm->aios, &t->mm->n_aios, a);
	v->entry->status |= VMA_AIORING;
	v->entry->flags |= MAP_ANONYMOUS;
	v->pages = VMA_PAGES_ALL;
	return 0;
}

/* Its place: io_setup() takes no address, and what it makes moves there (aio_make()). */
static int aio_ring_map(struct batch *b, struct task_mm *m, struct segment *s)
{
	s->prot = PROT_READ | PROT_WRITE;
	batch_call(b, SYS_mmap, s->start, s->end - s->start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	           UINT64_MAX, 0);
	return 0;
}

/* What is in the images is checked by aio_check(), when the pages are known. */
const struct vma_kind aio_ring_kind = {
	.name = "AIO ring",
	.status = VMA_AIORING,
	.match = aio_ring_match,
	.dump = aio_ring_dump,
	.map = aio_ring_map,
};
