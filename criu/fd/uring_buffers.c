/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Groups of provided buffers of a ring of io_uring, both directions. A new group begins with its first buffer; the old
 * one is brought to where it was by requests that use buffers up: each receives some bytes, one into each buffer. They
 * take places of requests that had been submitted, and leave no completion. What lies in the memory of the group, which
 * is the program's, is put back.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/agent.h"
#include "fd/uring_parts.h"
#include "lib/io.h"
#include "lib/log.h"

#define USED_AT_ONCE 128U /* buffers of one request; the kernel takes up to 256 */
#define SCRATCH      12U  /* in the first entry: its number, of which nothing is made */
#define TAIL_AT      14U  /* ... and where a group has its tail */

static uint32_t buffers_at_once(uint32_t entries)
{
	return MIN(entries, USED_AT_ONCE);
}

uint32_t uring_buffers_requests(const UringFileEntry *m)
{
	uint32_t n = 0;

	for (size_t i = 0; i < m->n_groups; i++)
		n += (m->groups[i]->head + buffers_at_once(m->groups[i]->entries) - 1) /
		     buffers_at_once(m->groups[i]->entries);
	return n;
}

/* ---- dump ---- */

static bool is_of_ring(struct dump *d, const struct task *t, raddr_t at)
{
	const struct task_maps *maps = &tree_first_vm(&d->tree, t)->dump->maps;

	for (size_t i = 0; i < maps->n; i++)
		if (maps->v[i].start <= at && at < maps->v[i].end)
			return !strcmp(maps->v[i].name, URING_LINK);
	return false;
}

static const char *dump_group(struct dump *d, const struct task *t, struct uring_group *g, UringFileEntry *m)
{
	UringGroup *q = arena_msg(d->arena, UringGroup, uring_group);

	if (g->odd)
		return "with buffers that were handed to it one by one (IORING_OP_PROVIDE_BUFFERS) is not supported";
	if (uring_kernel_find_group(d, uring_kernel(d), t, g))
		return arena_printf(d->arena,
		                    "with a group of buffers (%u) whose memory is not found in the process is not "
		                    "supported",
		                    g->id);
	q->id = g->id;
	q->entries = g->entries;
	q->head = g->head;
	q->addr = g->at;
	q->has_counts_bytes = q->counts_bytes = g->counts_bytes;
	if (is_of_ring(d, t, g->at)) {
		q->has_content = true;
		q->content.len = g->entries * sizeof(struct io_uring_buf);
		q->content.data = arena_alloc(d->arena, q->content.len);
		if (io_read_process(t->pid, q->content.data,
		                    &(struct iovec) { (void *)(uintptr_t)g->at, q->content.len }, 1))
			return "with a group of buffers whose memory cannot be read is not supported";
	}
	arena_push(d->arena, &m->groups, &m->n_groups, q);
	return NULL;
}

const char *uring_buffers_dump(struct dump *d, const struct task *t, const struct uring_state *s, UringFileEntry *m)
{
	struct uring_group *g = NULL;
	const char *why = NULL;
	size_t n = 0;
	int err = uring_kernel_groups(d, uring_kernel(d), s, &g, &n);

	if (err)
		return "with buffers provided to it is not supported with this kernel";
	for (size_t i = 0; !why && i < n; i++)
		why = dump_group(d, t, &g[i], m);
	if (!why && n && (uring_buffers_requests(m) > s->submitted - s->n_flying || s->flags & IORING_SETUP_IOPOLL))
		why = "of whose provided buffers more are used up than can be used up again by as many requests is not "
		      "supported";
	return why;
}

/* ---- restore ---- */

bool uring_buffers_check(const UringFileEntry *m)
{
	for (size_t i = 0; i < m->n_groups; i++) {
		const UringGroup *g = m->groups[i];

		if (!g->entries || g->entries > 1U << 15 || g->entries & (g->entries - 1) || g->head > UINT16_MAX ||
		    g->id > UINT16_MAX ||
		    (g->has_content && g->content.len != g->entries * sizeof(struct io_uring_buf)))
			return false;
	}
	return uring_buffers_requests(m) <= m->position - (uint32_t)m->n_requests;
}

int uring_buffers_register(struct agent *a, const UringFileEntry *m, int number)
{
	struct batch *b = agent_batch(a, "registering buffers of an io_uring");

	for (size_t i = 0; i < m->n_groups; i++) {
		const UringGroup *g = m->groups[i];
		struct io_uring_buf_reg reg = {
			.ring_addr = g->has_content ? 0 : g->addr,
			.ring_entries = g->entries,
			.bgid = (uint16_t)g->id,
			.pad = (uint16_t)((g->has_content ? URING_PBUF_RING_MMAP : 0) |
			                  (g->counts_bytes ? URING_PBUF_RING_INC : 0)),
		};

		batch_call(b, SYS_io_uring_register, (uint64_t)number, IORING_REGISTER_PBUF_RING,
		           batch_data(b, &reg, sizeof(reg)), 1);
	}
	return batch_run(b);
}

static int write_there(pid_t pid, raddr_t at, const void *data, size_t len)
{
	return io_write_process(pid, data, &(struct iovec) { (void *)(uintptr_t)at, len }, 1);
}

/* Sockets in the task: [0] is received from. */
static int open_sockets(struct agent *a, int socks[2])
{
	struct batch *b = agent_batch(a, "socketpair, to use up buffers of an io_uring");
	int32_t *there;
	int err;

	batch_call(b, SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
	           batch_space(b, 2 * sizeof(*there), &there));
	err = batch_run(b);
	socks[0] = err ? -1 : there[0];
	socks[1] = err ? -1 : there[1];
	return err;
}

static int use_some(const struct uring_view *v, uint32_t at, const UringGroup *g, const int socks[2], uint32_t n)
{
	struct io_uring_sqe e = { .opcode = IORING_OP_RECV,
		                  .flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS,
		                  .ioprio = URING_RECV_BUNDLE,
		                  .fd = socks[0],
		                  .msg_flags = MSG_DONTWAIT,
		                  .buf_group = (uint16_t)g->id };
	struct batch *b = agent_batch(v->agent, "using up buffers of an io_uring");
	uint8_t bytes[USED_AT_ONCE] = { 0 };
	int err;

	batch_call(b, SYS_write, (uint64_t)socks[1], batch_data(b, bytes, n), n);
	err = batch_run(b);
	if (err)
		return err;
	uring_view_put(v, at, &e);
	return uring_view_submit(v, at, 1);
}

/* The entries are all alike: one byte, to a place that does not matter. */
static int use_up(const struct uring_view *v, pid_t pid, uint32_t *at, const UringGroup *g, const int socks[2])
{
	struct io_uring_buf entries[USED_AT_ONCE];
	uint16_t tail = 0;
	int err = 0;

	for (uint32_t i = 0; !err && i < g->entries; i += USED_AT_ONCE) {
		uint32_t n = MIN(g->entries - i, USED_AT_ONCE);

		for (uint32_t m = 0; m < n; m++)
			entries[m] = (struct io_uring_buf) { .addr = g->addr + SCRATCH, .len = 1 };
		err = write_there(pid, g->addr + i * sizeof(*entries), entries, n * sizeof(*entries));
	}
	while (!err && tail != g->head) {
		uint32_t n = MIN(g->head - tail, buffers_at_once(g->entries));

		tail = (uint16_t)(tail + n);
		err = write_there(pid, g->addr + TAIL_AT, &tail, sizeof(tail));
		if (!err)
			err = use_some(v, *at, g, socks, n);
		++*at;
	}
	return err;
}

static int see_head(const struct uring_view *v, const UringGroup *g)
{
	struct uring_buf_status status = { .group = g->id }, *there;
	struct batch *b = agent_batch(v->agent, "asking for the buffers of an io_uring");
	raddr_t place = batch_space(b, sizeof(status), &there);
	int err;

	*there = status;
	batch_call(b, SYS_io_uring_register, (uint64_t)v->number, URING_REGISTER_PBUF_STATUS, place, 1);
	err = batch_run(b);
	return !err && there->head != g->head ? -EPROTO : err;
}

static int restore_group(const struct uring_view *v, pid_t pid, uint32_t *at, const UringGroup *g, const int socks[2])
{
	size_t len = g->entries * sizeof(struct io_uring_buf);
	_cleanup_free_ uint8_t *old = malloc(len);
	int err = old ? 0 : -ENOMEM, back;

	if (!err && g->has_content)
		memcpy(old, g->content.data, len);
	else if (!err)
		err = io_read_process(pid, old, &(struct iovec) { (void *)(uintptr_t)g->addr, len }, 1);
	if (err)
		return err;
	err = g->head ? use_up(v, pid, at, g, socks) : 0;
	back = write_there(pid, g->addr, old, len);
	err = err ?: back;
	return err || !g->head ? err : see_head(v, g);
}

int uring_buffers_restore(const struct uring_view *view, struct agent *a, pid_t pid, const UringFileEntry *m,
                          uint32_t at)
{
	uint32_t *tail = uring_word(view, view->p.cq_off.tail), before = __atomic_load_n(tail, __ATOMIC_ACQUIRE);
	struct uring_view v = *view;
	int socks[2] = { -1, -1 }, err = 0;

	if (!m->n_groups)
		return 0;
	v.agent = a;
	err = open_sockets(a, socks);
	for (size_t i = 0; !err && i < m->n_groups; i++)
		err = restore_group(&v, pid, &at, m->groups[i], socks);
	if (!err && __atomic_load_n(tail, __ATOMIC_ACQUIRE) != before)
		err = -EPROTO;
	if (socks[0] >= 0) {
		struct batch *b = agent_batch(a, "closing sockets");

		batch_call(b, SYS_close, (uint64_t)socks[0]);
		batch_call(b, SYS_close, (uint64_t)socks[1]);
		err = batch_run(b) ?: err;
	}
	return err;
}
