/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Contexts of asynchronous I/O at restore. The kernel keeps where it writes next by itself: a new context is brought
 * there by requests that complete at once, polls of an eventfd that is ready. Those whose events were unread are not
 * read here either, so that the kernel counts their places as taken. What the ring holds is written over it afterwards,
 * like other pages.
 */
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch/arch_compat.h"
#include "agent/agent.h"
#include "agent/code.h"
#include "arch_page.h"
#include "lib/log.h"
#include "mm/aio.h"

#define CHUNK 1024U /* requests of one call */

/* ---- before the start ---- */

/* The run that has the page, or NULL. */
static const struct page_run *find_run(const struct pagemap *p, raddr_t at)
{
	size_t low = 0, high = p->n_runs;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (page_run_end(&p->runs[mid]) <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low < p->n_runs && p->runs[low].at <= at ? &p->runs[low] : NULL;
}

/* The head of the ring, out of the stored pages. */
static int read_stored_head(struct restore *r, const struct task *t, const struct task_mm *m, const VmaEntry *v,
                            struct aio_ring_head *h)
{
	const struct page_run *run = find_run(m->pages, v->start);
	uint8_t page[PAGE_SIZE];
	struct page_run first;
	int err;

	if (!run)
		return vma_damaged(t, v, "is a ring of asynchronous I/O whose first page is not in the checkpoint");
	first = page_run_part(run, v->start, v->start + PAGE_SIZE);
	err = pages_read_run(m->pages, &first, page);
	memcpy(h, page, sizeof(*h));
	return err;
}

static bool is_sane(const struct aio_ring_head *h, const VmaEntry *v)
{
	return h->magic == AIO_RING_MAGIC && h->nr <= AIO_RING_EVENTS / sizeof(struct io_event) &&
	       aio_ring_size(h->nr) == v->end - v->start && h->head < h->nr && h->tail < h->nr;
}

/* Makes such a context in criu: 0; -ERANGE: its ring has another size; else what io_setup() said. */
static int try_context(uint32_t nr_req, uint32_t nr)
{
	aio_context_t ctx = 0;
	int err;

	if (syscall(SYS_io_setup, nr_req, &ctx))
		return -errno;
	err = ((const struct aio_ring_head *)(uintptr_t)ctx)->nr == nr ? 0 : -ERANGE;
	syscall(SYS_io_destroy, ctx);
	return err;
}

static int refuse_context(const struct task *t, const struct aio_context *c, int err)
{
	const char *why = "";

	if (err == -ENOSYS)
		why = ": this kernel has no asynchronous I/O (CONFIG_AIO)";
	else if (err == -EAGAIN)
		why = ": fs.aio-max-nr is used up; raise it";
	else if (err == -ERANGE)
		why = ", its ring has another size here: the kernel makes it larger with the number of processors";
	return log_refusal(err, "%s: AIO context %" PRIx64 ": io_setup(%u)%s", task_name(t), c->vma->start, c->nr_req,
	                   why);
}

static int check_context(struct restore *r, const struct task *t, const struct task_mm *m, struct aio_context *c)
{
	const VmaEntry *v = c->vma;
	const AioRingEntry *e = t->mm->aios[c - m->aio]; /* both ascend */
	bool known = false;
	int err;

	if (e->id != v->start || !e->nr_req || e->ring_len != v->end - v->start)
		return vma_damaged(t, v, "is a ring of asynchronous I/O of which mm_entry.aios says something else");
	err = read_stored_head(r, t, m, v, &c->head);
	if (err)
		return err;
	if (!is_sane(&c->head, v))
		return vma_damaged(t, v, "is a ring of asynchronous I/O with a damaged head");
	c->nr_req = e->nr_req;
	for (const struct aio_context *before = m->aio; !known && before < c; before++)
		known = before->nr_req == c->nr_req && before->head.nr == c->head.nr;
	err = known ? 0 : try_context(c->nr_req, c->head.nr);
	return err ? refuse_context(t, c, err) : 0;
}

/* In the order of their numbers, which the kernel gives out again in this order. */
static int by_number(const void *a, const void *b)
{
	const struct aio_context *x = a, *y = b;

	return (x->head.id > y->head.id) - (x->head.id < y->head.id);
}

int aio_check(struct restore *r, const struct task *t, struct task_mm *m)
{
	int err = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		struct aio_context c = { .vma = t->mm->vmas[i] };

		if (c.vma->status & VMA_AIORING)
			arena_push(r->arena, &m->aio, &m->n_aio, c);
	}
	if (m->n_aio != t->mm->n_aios)
		return log_errno(-EBADMSG, "%s: mm-%d.img: %zu AIO contexts, and %zu mappings of such", task_name(t),
		                 t->vpid.v, t->mm->n_aios, m->n_aio);
	for (size_t i = 0; i < m->n_aio && err != -EBADMSG; i++)
		err = check_context(r, t, m, &m->aio[i]) ?: err;
	if (m->n_aio)
		qsort(m->aio, m->n_aio, sizeof(*m->aio), by_number);
	return err;
}

/* ---- in the task ---- */

/* A context on its way to the positions that it had. */
struct advance {
	struct task *t;
	raddr_t ctx;
	uint32_t fd; /* an eventfd that is ready, in the task */
};

/* Adds n requests, and reads their events if `reap`; returns how many requests there were, or a negative errno. */
static int64_t submit_some(const struct advance *a, uint32_t n, bool reap)
{
	struct batch *b = agent_batch(a->t->restore->agent, "advancing an AIO context");
	struct iocb iocb = { .aio_lio_opcode = IOCB_CMD_POLL, .aio_fildes = a->fd, .aio_buf = POLLIN }, *local;
	raddr_t at = batch_space(b, sizeof(iocb), &local), list, events;
	uint64_t *pointers;
	void *unused;
	int op, err;

	*local = iocb;
	list = batch_space(b, n * sizeof(*pointers), &pointers);
	for (uint32_t i = 0; i < n; i++)
		pointers[i] = at;
	events = batch_space(b, n * sizeof(struct io_event), &unused);
	op = batch_call(b, SYS_io_submit, a->ctx, n, list);
	if (reap) {
		batch_call(b, SYS_io_getevents, a->ctx, 0, 0, events);
		batch_ref(b, 2, op);
	}
	err = batch_run(b);
	return err ?: batch_ret(b, op);
}

static int submit_all(const struct advance *a, uint32_t n, uint32_t at_once, bool reap)
{
	while (n) {
		int64_t done = submit_some(a, MIN(n, at_once), reap);

		if (done <= 0)
			return done ? (int)done : -EAGAIN;
		n -= (uint32_t)done;
	}
	return 0;
}

/* Less at once than are free on any processor: the kernel keeps some apart for each. */
static int advance_context(const struct advance *a, const struct aio_ring_head *h)
{
	uint32_t unread = aio_ring_unread(h), at_once = MIN(CHUNK, MAX(h->nr / 4, 1U));
	uint32_t total = h->tail >= unread ? h->tail : h->tail + h->nr;
	int err = submit_all(a, total - unread, at_once, true);

	return err ?: submit_all(a, unread, at_once, false);
}

static int call_once(struct task *t, const char *what, unsigned nr, const uint64_t arg[6], int64_t *ret)
{
	struct batch *b = agent_batch(t->restore->agent, what);
	int op = batch_add(b, nr, AGENT_OP_STOP, arg), err = batch_run(b);

	if (ret)
		*ret = batch_ret(b, op);
	return err;
}

static int set_up(struct task *t, uint32_t nr_req, raddr_t *ctx)
{
	struct batch *b = agent_batch(t->restore->agent, "making an AIO context");
	uint64_t *id;
	const uint64_t arg[6] = { nr_req, batch_space(b, sizeof(*id), &id) };
	int err;

	/* A 64-bit call would look for room above 4 GiB. */
	batch_add(b, t->compat ? COMPAT_NR_IO_SETUP : SYS_io_setup, AGENT_OP_STOP | (t->compat ? AGENT_OP_COMPAT : 0),
	          arg);
	err = batch_run(b);
	*ctx = *id;
	return err;
}

static int make_context(struct task *t, struct aio_context *c, uint32_t fd)
{
	struct advance a = { .t = t, .fd = fd };
	uint64_t size = c->vma->end - c->vma->start;
	struct aio_ring_head now;
	int err = set_up(t, c->nr_req, &a.ctx);

	err = err ?: advance_context(&a, &c->head);
	if (err)
		return log_errno(err, "%s: AIO context %" PRIx64, task_name(t), c->vma->start);
	err = aio_ring_read(t->pid, a.ctx, size, &now);
	if (!err && (now.head != c->head.head || now.tail != c->head.tail || now.nr != c->head.nr))
		err = -ERANGE;
	if (err)
		return log_errno(err, "%s: AIO context %" PRIx64 ": its new ring is not where the old one was",
		                 task_name(t), c->vma->start);
	c->head.id = now.id;
	return call_once(t, "moving an AIO ring into its place", SYS_mremap,
	                 (const uint64_t[6]) { a.ctx, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, c->vma->start }, NULL);
}

/* One processor for all of it: places that the kernel keeps for others would be out of reach. */
static void pin_task(pid_t pid, const cpu_set_t *all)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, all))
			continue;
		CPU_SET(i, &one);
		sched_setaffinity(pid, sizeof(one), &one);
		return;
	}
}

int aio_make(struct task *t, struct task_mm *m)
{
	cpu_set_t all;
	bool pinned;
	int64_t fd;
	int err, part;

	if (!m->n_aio)
		return 0;
	err =
	    call_once(t, "an eventfd for its AIO contexts", SYS_eventfd2, (const uint64_t[6]) { 1, EFD_CLOEXEC }, &fd);
	if (err)
		return err;
	pinned = !sched_getaffinity(t->pid, sizeof(all), &all);
	if (pinned)
		pin_task(t->pid, &all);
	for (size_t i = 0; !err && i < m->n_aio; i++)
		err = make_context(t, &m->aio[i], (uint32_t)fd);
	if (pinned && sched_setaffinity(t->pid, sizeof(all), &all))
		err = err ?: log_errno(-errno, "%s: sched_setaffinity", task_name(t));
	part = call_once(t, "closing an eventfd", SYS_close, (const uint64_t[6]) { (uint64_t)fd }, NULL);
	return err ?: part;
}

int aio_number(const struct task *t, const struct task_mm *m)
{
	for (size_t i = 0; i < m->n_aio; i++) {
		const struct aio_context *c = &m->aio[i];
		int err = agent_write_task(t->pid, c->vma->start, &c->head.id, sizeof(c->head.id));

		if (err)
			return log_errno(err, "%s: AIO context %" PRIx64 ": process_vm_writev of its number",
			                 task_name(t), c->vma->start);
	}
	return 0;
}
