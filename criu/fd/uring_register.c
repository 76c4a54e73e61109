/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What was registered with a ring of io_uring: files, buffers, an eventfd. Files come back by the descriptors that the
 * process has of them.
 */
#include <linux/io_uring.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "agent/agent.h"
#include "fd/uring_parts.h"

#define BUFFERS (1U << 14)

/* ---- dump ---- */

static const char *dump_files(struct dump *d, struct uring_kernel *k, uint64_t task, const struct uring_state *s,
                              UringFileEntry *m)
{
	struct uring_place p;

	m->has_file_places = s->n_files;
	m->file_places = s->n_files;
	for (uint32_t i = 0; i < s->n_files; i++) {
		UringPlace *q = arena_msg(d->arena, UringPlace, uring_place);
		int number;

		if (uring_kernel_file(k, s, i, &p))
			return "changes while it is read";
		if (!p.file)
			continue;
		number = task ? uring_kernel_find(k, task, p.file, false) : -1;
		if (number < 0)
			return arena_printf(
			    d->arena,
			    "with a registered file (place %u) of which the process has no descriptor is "
			    "not supported; keep one open, or unregister the file before the dump",
			    i);
		q->place = i;
		q->has_number = true;
		q->number = (uint32_t)number;
		q->has_tag = p.tag;
		q->tag = p.tag;
		arena_push(d->arena, &m->files, &m->n_files, q);
	}
	if (s->alloc_start || s->alloc_end != s->n_files) {
		m->has_alloc_start = m->has_alloc_len = true;
		m->alloc_start = s->alloc_start;
		m->alloc_len = s->alloc_end - s->alloc_start;
	}
	return NULL;
}

static bool is_mapped(const struct task *t, uint64_t at, uint64_t end)
{
	const struct task_maps *maps = &t->dump->maps;

	for (size_t i = 0; i < maps->n && at < end; i++)
		if (maps->v[i].start <= at && at < maps->v[i].end)
			at = maps->v[i].end;
	return at >= end;
}

static const char *dump_buffers(struct dump *d, const struct task *t, struct uring_kernel *k,
                                const struct uring_state *s, UringFileEntry *m)
{
	const struct task *vm = tree_first_vm(&d->tree, t);
	struct uring_place p;

	m->has_buffer_places = s->n_buffers;
	m->buffer_places = s->n_buffers;
	for (uint32_t i = 0; i < s->n_buffers; i++) {
		UringPlace *q = arena_msg(d->arena, UringPlace, uring_place);
		int same;

		if (uring_kernel_buffer(k, s, i, &p))
			return "changes while it is read";
		if (p.odd)
			return "with buffers of a driver's is not supported";
		if (!p.len)
			continue;
		same = uring_kernel_same_page(d, k, t, &p);
		if (!same || !is_mapped(vm, p.addr, p.addr + p.len))
			return arena_printf(
			    d->arena,
			    "with a registered buffer (place %u) whose memory is not mapped any more is not "
			    "supported; unregister it before the dump",
			    i);
		q->place = i;
		q->has_addr = q->has_len = true;
		q->addr = p.addr;
		q->len = p.len;
		q->has_tag = p.tag;
		q->tag = p.tag;
		arena_push(d->arena, &m->buffers, &m->n_buffers, q);
	}
	return NULL;
}

/* The threads that have it under a number of their own. */
static void dump_registered(struct dump *d, struct uring_kernel *k, const struct task *t, const struct uring_state *s,
                            UringFileEntry *m)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		uint64_t task = uring_kernel_user(k, s, task_id(t), t->threads[i].tid);

		for (unsigned n = 0; task && n < URING_REGISTERED_MAX; n++) {
			uint64_t file = uring_kernel_registered(k, task, n);
			UringRegistered *q;

			if (!file || uring_kernel_private(k, file) != s->ctx)
				continue;
			q = arena_msg(d->arena, UringRegistered, uring_registered);
			q->thread = (uint32_t)t->threads[i].vtid.v;
			q->number = n;
			arena_push(d->arena, &m->registered, &m->n_registered, q);
		}
	}
}

const char *uring_register_lost(struct dump *d, const struct uring_state *s, const struct thread *th)
{
	struct uring_kernel *k = uring_kernel(d);
	uint64_t task = uring_kernel_user(k, s, task_id(th->task), th->tid);

	for (unsigned n = 0; task && n < URING_REGISTERED_MAX; n++) {
		uint64_t file = uring_kernel_registered(k, task, n);

		if (file && uring_kernel_find(k, task, file, false) < 0)
			return "has registered an io_uring of which it has no descriptor (IORING_REGISTER_RING_FDS), "
			       "which is "
			       "not supported; keep one open";
	}
	return NULL;
}

const char *uring_register_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m)
{
	struct uring_kernel *k = uring_kernel(d);
	uint64_t task = uring_kernel_user(k, s, task_id(t), 0);
	const char *why;

	if (s->eventfd) {
		int number = task ? uring_kernel_find(k, task, s->eventfd, true) : -1;

		if (number < 0)
			return "with a registered eventfd of which the process has no descriptor is not supported";
		m->has_eventfd = true;
		m->eventfd = (uint32_t)number;
		m->has_eventfd_async = s->eventfd_async;
		m->eventfd_async = s->eventfd_async;
	}
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD)
			dump_registered(d, k, d->tree.tasks[i], s, m);
	why = dump_files(d, k, task, s, m);
	return why ?: dump_buffers(d, t, k, s, m);
}

/* ---- restore ---- */

bool uring_register_check(const UringFileEntry *m)
{
	bool good = m->file_places <= 1U << 20 && m->buffer_places <= BUFFERS;

	for (size_t i = 0; good && i < m->n_registered; i++)
		good = m->registered[i]->number < URING_REGISTERED_MAX;
	for (size_t i = 0; good && i < m->n_files; i++)
		good = m->files[i]->place < m->file_places && m->files[i]->has_number;
	for (size_t i = 0; good && i < m->n_buffers; i++)
		good = m->buffers[i]->place < m->buffer_places && m->buffers[i]->has_addr && m->buffers[i]->has_len;
	return good;
}

/* An empty table of that size. */
static void make_table(struct batch *b, int ring, unsigned op, uint32_t n)
{
	struct io_uring_rsrc_register reg = { .nr = n, .flags = IORING_RSRC_REGISTER_SPARSE };

	if (n)
		batch_call(b, SYS_io_uring_register, (uint64_t)ring, op, batch_data(b, &reg, sizeof(reg)), sizeof(reg));
}

static void put_file(struct batch *b, int ring, const UringPlace *p)
{
	struct io_uring_rsrc_update2 up = { .offset = p->place, .nr = 1 };
	int32_t number = (int32_t)p->number;
	uint64_t tag = p->tag;

	batch_reserve(b, 1, 256);
	up.data = batch_data(b, &number, sizeof(number));
	up.tags = batch_data(b, &tag, sizeof(tag));
	batch_call(b, SYS_io_uring_register, (uint64_t)ring, IORING_REGISTER_FILES_UPDATE2,
	           batch_data(b, &up, sizeof(up)), sizeof(up));
}

static void put_buffer(struct batch *b, int ring, const UringPlace *p)
{
	struct io_uring_rsrc_update2 up = { .offset = p->place, .nr = 1 };
	struct iovec iov = { (void *)(uintptr_t)p->addr, p->len };
	uint64_t tag = p->tag;

	batch_reserve(b, 1, 256);
	up.data = batch_data(b, &iov, sizeof(iov));
	up.tags = batch_data(b, &tag, sizeof(tag));
	batch_call(b, SYS_io_uring_register, (uint64_t)ring, IORING_REGISTER_BUFFERS_UPDATE,
	           batch_data(b, &up, sizeof(up)), sizeof(up));
}

int uring_register_restore(struct agent *a, const UringFileEntry *m, int number)
{
	struct batch *b = agent_batch(a, "registering files, buffers or an eventfd with an io_uring");

	make_table(b, number, IORING_REGISTER_FILES2, m->file_places);
	for (size_t i = 0; i < m->n_files; i++)
		put_file(b, number, m->files[i]);
	if (m->has_alloc_start) {
		struct io_uring_file_index_range range = { .off = m->alloc_start, .len = m->alloc_len };

		batch_call(b, SYS_io_uring_register, (uint64_t)number, IORING_REGISTER_FILE_ALLOC_RANGE,
		           batch_data(b, &range, sizeof(range)), 0);
	}
	make_table(b, number, IORING_REGISTER_BUFFERS2, m->buffer_places);
	for (size_t i = 0; i < m->n_buffers; i++)
		put_buffer(b, number, m->buffers[i]);
	if (m->has_eventfd) {
		int32_t fd = (int32_t)m->eventfd;

		batch_call(b, SYS_io_uring_register, (uint64_t)number,
		           m->eventfd_async ? IORING_REGISTER_EVENTFD_ASYNC : IORING_REGISTER_EVENTFD,
		           batch_data(b, &fd, sizeof(fd)), 1);
	}
	return batch_run(b);
}

int uring_register_with(struct thread *th, const UringFileEntry *m, uint32_t fd)
{
	struct batch *b = agent_batch(th->restore->agent, "registering an io_uring");

	for (size_t i = 0; i < m->n_registered; i++) {
		struct io_uring_rsrc_update up = { .offset = m->registered[i]->number, .data = fd };

		if (m->registered[i]->thread == (uint32_t)th->vtid.v)
			batch_call(b, SYS_io_uring_register, fd, IORING_REGISTER_RING_FDS,
			           batch_data(b, &up, sizeof(up)), 1);
	}
	return batch_run(b);
}
