/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages into pages files, by several threads. Each takes the next chunk, reads it into a buffer of its own that stays
 * in the cache, throws pages of zeros out, waits for its turn to be given a place in the file, which takes no longer
 * than the chunk before it is read, and writes. So the pages of a file stand in order, and the next chunk is read while
 * this one is written.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/uio.h>

#include "arch_page.h"
#include "lib/log.h"
#include "mm/page_io.h"

#define MAX_THREADS  8
/* Below that starting threads costs more than they bring. */
#define THREADS_FROM (8UL << 20)
/*
 * Blocks of a large file are asked for in such steps, which makes writing a sixth faster on ext4. Not all at once: most
 * pages may turn out to be zeros.
 */
#define ALLOC_STEP   (64UL << 20)
#define ALLOC_FROM   (4UL << 20)

struct copier {
	struct page_stream *streams;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t assigned; /* some stream's n_assigned has grown, or err was set */
	size_t stream, chunk;    /* the next one to be taken */
	int err;                 /* the first one, logged */
};

/* ---- reading ---- */

static ssize_t read_object(const struct page_stream *s, uint64_t at, uint8_t *buf, size_t len)
{
	ssize_t n = pread(s->source, buf, len, (off_t)at);

	/* The object may end within its last page. */
	if (n > 0 && (size_t)n < len)
		memset(buf + n, 0, len - (size_t)n);
	return n > 0 ? (ssize_t)len : n;
}

static ssize_t read_memory(const struct page_stream *s, const struct piece *p, uint8_t *buf)
{
	size_t len = p->n * PAGE_SIZE;
	struct iovec local = { buf, len }, remote = { (void *)(uintptr_t)p->start, len };

	if (s->source >= 0)
		return read_object(s, p->start, buf, len);
	if (p->flags & PIECE_FORCE)
		return pread(s->mem, buf, len, (off_t)p->start);
	return process_vm_readv(s->task->pid, &local, 1, &remote, 1, 0);
}

static int read_piece(const struct page_stream *s, const struct piece *p, uint8_t *buf)
{
	ssize_t n = read_memory(s, p, buf);

	if (n == (ssize_t)(p->n * PAGE_SIZE))
		return 0;
	return log_errno(n < 0 ? -errno : -EFAULT, "%s: reading %u pages at %" PRIx64 "%s", task_name(s->task), p->n,
	                 p->start, s->source >= 0 ? " of shared memory" : "");
}

/* All pieces in one call. False: it has to be tried one by one. */
static bool read_at_once(const struct page_stream *s, const struct chunk *c, uint8_t *buf)
{
	struct iovec local = { buf, c->n_pages * PAGE_SIZE }, remote[CHUNK_PAGES];

	for (size_t i = 0; i < c->n_pieces; i++) {
		const struct piece *p = &s->pieces[c->first + i];

		if (p->flags & PIECE_FORCE)
			return false;
		remote[i] = (struct iovec) { (void *)(uintptr_t)p->start, p->n * PAGE_SIZE };
	}
	return process_vm_readv(s->task->pid, &local, 1, remote, c->n_pieces, 0) == (ssize_t)local.iov_len;
}

static int read_chunk(const struct page_stream *s, const struct chunk *c, uint8_t *buf)
{
	int err = 0;

	if (s->source < 0 && read_at_once(s, c, buf))
		return 0;
	for (size_t i = 0; !err && i < c->n_pieces; i++) {
		const struct piece *p = &s->pieces[c->first + i];

		err = read_piece(s, p, buf);
		buf += p->n * PAGE_SIZE;
	}
	return err;
}

/* ---- pages of zeros ---- */

static bool is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;

	for (size_t i = 0; i < PAGE_SIZE / sizeof(*w); i += 8)
		if (w[i] | w[i + 1] | w[i + 2] | w[i + 3] | w[i + 4] | w[i + 5] | w[i + 6] | w[i + 7])
			return false;
	return true;
}

/*
 * One page of each huge page is kept, so that the pagemap tells of the huge page even where it is all zeros.
 */
static bool is_kept(const struct piece *p, uint64_t at, const uint8_t *page)
{
	if (!(p->flags & PIECE_DROP_ZERO) || ((p->flags & PIECE_THP) && !(at % HUGE_SIZE)))
		return true;
	return !is_zero(page);
}

/* Notes which pages are kept, and moves them together. */
static void compact(const struct page_stream *s, struct chunk *c, uint8_t *buf)
{
	const uint8_t *page = buf;
	uint32_t i = 0;

	for (size_t k = 0; k < c->n_pieces; k++) {
		const struct piece *p = &s->pieces[c->first + k];

		for (uint32_t n = 0; n < p->n; n++, i++, page += PAGE_SIZE) {
			uint8_t *to = buf + c->n_kept * PAGE_SIZE;

			if (!is_kept(p, p->start + n * PAGE_SIZE, page))
				continue;
			if (to != page)
				memcpy(to, page, PAGE_SIZE);
			c->kept[i / 64] |= UINT64_C(1) << (i % 64);
			c->n_kept++;
		}
	}
}

/* ---- the work ---- */

static bool take(struct copier *c, struct page_stream **sp, size_t *chunk)
{
	bool found;

	pthread_mutex_lock(&c->lock);
	while (c->stream < c->n && c->chunk == c->streams[c->stream].n_chunks) {
		c->stream++;
		c->chunk = 0;
	}
	found = c->stream < c->n && !c->err;
	if (found) {
		*sp = &c->streams[c->stream];
		*chunk = c->chunk++;
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

/* The place of a chunk in the file, and what the file is to be enlarged by before it is written. */
struct place {
	uint64_t offset, alloc, alloc_len;
};

static void plan_alloc(struct page_stream *s, struct place *p)
{
	uint64_t most = s->n_pages * PAGE_SIZE;

	if (most < ALLOC_FROM || s->size <= s->allocated)
		return;
	p->alloc = s->allocated;
	p->alloc_len = MIN(most - s->allocated, ALLOC_STEP);
	s->allocated += p->alloc_len;
}

/* Waits until all chunks before this one have their place. -ECANCELED when that will never be. */
static int assign(struct copier *c, struct page_stream *s, size_t chunk, struct place *p)
{
	int err;

	pthread_mutex_lock(&c->lock);
	while (s->n_assigned != chunk && !c->err)
		pthread_cond_wait(&c->assigned, &c->lock);
	err = c->err ? -ECANCELED : 0;
	if (!err) {
		p->offset = s->size;
		s->size += s->chunks[chunk].n_kept * PAGE_SIZE;
		plan_alloc(s, p);
		s->n_assigned++;
		pthread_cond_broadcast(&c->assigned);
	}
	pthread_mutex_unlock(&c->lock);
	return err;
}

static int write_pages(const struct page_stream *s, const uint8_t *buf, size_t len, const struct place *p)
{
	uint64_t offset = p->offset;

	/* Not every file system can; and where there is no room, writing says so. */
	if (p->alloc_len)
		(void)!fallocate(s->file, 0, (off_t)p->alloc, (off_t)p->alloc_len);
	while (len) {
		ssize_t n = pwrite(s->file, buf, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return log_errno(n < 0 ? -errno : -EIO, "writing pages-%u.img", s->pages_id);
		buf += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static int copy_chunk(struct copier *c, struct page_stream *s, size_t i, uint8_t *buf)
{
	struct chunk *chunk = &s->chunks[i];
	struct place place = { 0 };
	int err = read_chunk(s, chunk, buf);

	if (err)
		return err;
	compact(s, chunk, buf);
	err = assign(c, s, i, &place);
	return err ?: write_pages(s, buf, chunk->n_kept * PAGE_SIZE, &place);
}

static void *worker(void *arg)
{
	struct copier *c = arg;
	_cleanup_free_ uint8_t *buf = aligned_alloc(PAGE_SIZE, CHUNK_PAGES * PAGE_SIZE);
	struct page_stream *s;
	size_t i;

	while (take(c, &s, &i)) {
		int err = buf ? copy_chunk(c, s, i, buf) : log_errno(-ENOMEM, "a buffer for pages");

		if (!err || err == -ECANCELED)
			continue;
		pthread_mutex_lock(&c->lock);
		c->err = c->err ?: err;
		pthread_cond_broadcast(&c->assigned);
		pthread_mutex_unlock(&c->lock);
	}
	return NULL;
}

static unsigned threads_for(const struct copier *c)
{
	uint64_t bytes = 0;
	cpu_set_t cpus;

	for (size_t i = 0; i < c->n; i++)
		bytes += c->streams[i].n_pages * PAGE_SIZE;
	if (bytes < THREADS_FROM || sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	return (unsigned)MIN(CPU_COUNT(&cpus), MAX_THREADS);
}

int pages_copy(struct page_stream *streams, size_t n)
{
	struct copier c = {
		.streams = streams, .n = n, .lock = PTHREAD_MUTEX_INITIALIZER, .assigned = PTHREAD_COND_INITIALIZER
	};
	unsigned wanted = threads_for(&c) - 1, started = 0;
	pthread_t threads[MAX_THREADS];

	while (started < wanted && !pthread_create(&threads[started], NULL, worker, &c))
		started++;
	worker(&c); /* this thread works too; where none can be started, it does all */
	while (started)
		pthread_join(threads[--started], NULL);
	return c.err;
}
