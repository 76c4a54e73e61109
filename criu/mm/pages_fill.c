/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Chunks of the pages file are written with process_vm_writev(2). Much of it is taken from a mapping of the file, made
 * present chunk by chunk: of 1 GiB in the page cache into huge pages that took 310 to 390 ms of processor time, where
 * reading into a hot buffer first took 405 to 490, and reading straight into fresh huge pages about 300; into 4 KiB
 * pages 500 and 570. The mapping is never looked at here but by the kernel: a file cut short is EFAULT, not a signal.
 */
#include "arch_page.h"
#include "mm/pages_fill.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "lib/log.h"

#define CHUNK       (1UL << 20)
#define MANY_PAGES  ((8UL << 20) / PAGE_SIZE) /* from here on threads pay */
#define MAX_WORKERS 16
#define MAX_IOV     1024

/* Runs that follow one another in the file and fit into a buffer. */
struct fill_chunk {
	size_t first, n;
	size_t len;
};

struct fill {
	struct restore *r;
	pid_t pid;
	uint32_t pages_id;
	int fd;
	int mem;      /* /proc/PID/mem, where something is compared */
	uint8_t *map; /* of the whole file, or NULL */
	uint64_t map_size;
	bool compares;         /* some runs do */
	struct page_run *runs; /* none larger than a chunk */
	size_t n_runs;
	struct fill_chunk *chunks;
	size_t n_chunks;
	uint64_t n_pages;
	size_t next;             /* chunk that nobody has taken yet */
	uint64_t compared, same; /* pages */
	int err;                 /* the first */
};

struct fill *fill_new(struct restore *r, pid_t pid, uint32_t pages_id)
{
	struct fill *f = arena_new_of(r->arena, struct fill);

	f->r = r;
	f->pid = pid;
	f->pages_id = pages_id;
	return f;
}

uint64_t fill_pages(const struct fill *f)
{
	return f->n_pages;
}

static void add_piece(struct fill *f, const struct page_run *piece)
{
	struct fill_chunk *c = f->n_chunks ? &f->chunks[f->n_chunks - 1] : NULL;
	size_t len = piece->n * PAGE_SIZE;

	if (!c || c->len + len > CHUNK || c->n == MAX_IOV || f->runs[c->first].off + c->len != piece->off) {
		struct fill_chunk fresh = { .first = f->n_runs };

		arena_push(f->r->arena, &f->chunks, &f->n_chunks, fresh);
		c = &f->chunks[f->n_chunks - 1];
	}
	arena_push(f->r->arena, &f->runs, &f->n_runs, *piece);
	c->n++;
	c->len += len;
}

void fill_add(struct fill *f, const struct page_run *run)
{
	struct page_run rest = *run;

	f->n_pages += run->n;
	f->compares |= run->compare;
	while (rest.n) {
		struct page_run piece = rest;

		/* Pieces begin at multiples of a chunk's size, so that one of them never lies in two huge pages. */
		piece.n = MIN(rest.n, (CHUNK - rest.at % CHUNK) / PAGE_SIZE);
		add_piece(f, &piece);
		rest.at += piece.n * PAGE_SIZE;
		rest.off += piece.n * PAGE_SIZE;
		rest.n -= piece.n;
	}
}

static int read_chunk(const struct fill *f, const struct fill_chunk *c, uint8_t *buf)
{
	off_t off = (off_t)f->runs[c->first].off;
	size_t done = 0;

	while (done < c->len) {
		ssize_t n = pread(f->fd, buf + done, c->len - done, off + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return log_errno(n ? -errno : -EBADMSG, "pages-%u.img: reading %zu bytes at %lld", f->pages_id,
			                 c->len - done, (long long)off + (long long)done);
		done += (size_t)n;
	}
	return 0;
}

static int write_out(const struct fill *f, const uint8_t *buf, size_t len, const struct iovec *remote, size_t n)
{
	struct iovec local = { (void *)(uintptr_t)buf, len };
	ssize_t ret;

	if (!n)
		return 0;
	ret = process_vm_writev(f->pid, &local, 1, remote, n, 0);
	if (ret == (ssize_t)len)
		return 0;
	return log_errno(ret < 0 ? -errno : -EFAULT, "pid %d: writing %zu bytes of its memory from 0x%" PRIxPTR, f->pid,
	                 len, (uintptr_t)remote->iov_base);
}

/*
 * Writes the pages of a run that differ from what is there. That is read through /proc/PID/mem: process_vm_readv() pins
 * pages, for which the kernel copies those that are shared by fork first, and nothing would stay shared.
 */
static int write_different(struct fill *f, const struct page_run *run, const uint8_t *buf, uint8_t *now)
{
	size_t len = run->n * PAGE_SIZE;
	uint64_t same = 0;
	int err = 0;

	if (pread(f->mem, now, len, (off_t)run->at) != (ssize_t)len)
		return log_errno(-EFAULT, "pid %d: reading %zu bytes of its memory at 0x%" PRIx64, f->pid, len,
		                 run->at);
	for (size_t at = 0; !err && at < len; at += PAGE_SIZE) {
		struct iovec page = { (void *)(uintptr_t)(run->at + at), PAGE_SIZE };

		if (!memcmp(buf + at, now + at, PAGE_SIZE))
			same++;
		else
			err = write_out(f, buf + at, PAGE_SIZE, &page, 1);
	}
	__atomic_fetch_add(&f->compared, run->n, __ATOMIC_RELAXED);
	__atomic_fetch_add(&f->same, same, __ATOMIC_RELAXED);
	return err;
}

/* The chunk as it lies in the mapping. Where it cannot be made present at once, the kernel does it page by page. */
static int copy_chunk(const struct fill *f, const struct fill_chunk *c)
{
	uint8_t *src = f->map + f->runs[c->first].off;
	struct iovec remote[MAX_IOV];

	madvise(src, c->len, MADV_POPULATE_READ);
	for (size_t i = 0; i < c->n; i++) {
		const struct page_run *run = &f->runs[c->first + i];

		remote[i] = (struct iovec) { (void *)(uintptr_t)run->at, run->n * PAGE_SIZE };
	}
	return write_out(f, src, c->len, remote, c->n);
}

static int do_chunk(struct fill *f, const struct fill_chunk *c, uint8_t *buf)
{
	struct iovec remote[MAX_IOV];
	size_t n = 0, at = 0, from = 0;
	int err = read_chunk(f, c, buf);

	for (size_t i = 0; !err && i < c->n; i++) {
		const struct page_run *run = &f->runs[c->first + i];
		size_t len = run->n * PAGE_SIZE;

		if (run->compare) {
			err = write_out(f, buf + from, at - from, remote, n);
			if (!err)
				err = write_different(f, run, buf + at, buf + CHUNK);
			n = 0;
			from = at + len;
		} else {
			remote[n++] = (struct iovec) { (void *)(uintptr_t)run->at, len };
		}
		at += len;
	}
	return err ?: write_out(f, buf + from, at - from, remote, n);
}

static void *work(void *arg)
{
	struct fill *f = arg;
	_cleanup_free_ uint8_t *buf = f->map ? NULL : malloc(2 * CHUNK);
	int err = buf || f->map ? 0 : log_errno(-ENOMEM, "a buffer for pages");

	while (!err && !__atomic_load_n(&f->err, __ATOMIC_RELAXED)) {
		size_t i = __atomic_fetch_add(&f->next, 1, __ATOMIC_RELAXED);

		if (i >= f->n_chunks)
			break;
		err = f->map ? copy_chunk(f, &f->chunks[i]) : do_chunk(f, &f->chunks[i], buf);
	}
	if (err)
		__atomic_store_n(&f->err, err, __ATOMIC_RELAXED);
	return NULL;
}

static unsigned workers(const struct fill *f)
{
	cpu_set_t cpus;
	int n;

	if (f->n_pages < MANY_PAGES || sched_getaffinity(0, sizeof(cpus), &cpus))
		return 1;
	n = CPU_COUNT(&cpus);
	return (unsigned)MAX(1, MIN(n, MAX_WORKERS));
}

/* Not every file system can do it: then it is read. */
static void map_file(struct fill *f)
{
	const struct fill_chunk *last = &f->chunks[f->n_chunks - 1];

	if (f->compares || f->n_pages < MANY_PAGES)
		return;
	f->map_size = f->runs[last->first].off + last->len;
	f->map = mmap(NULL, f->map_size, PROT_READ, MAP_SHARED, f->fd, 0);
	if (f->map == MAP_FAILED)
		f->map = NULL;
}

static int open_memory(pid_t pid)
{
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "opening %s", path) : fd;
}

int fill_run(struct fill *f)
{
	pthread_t threads[MAX_WORKERS];
	unsigned n = workers(f), started = 0;
	_cleanup_close_ int fd = -1, mem = -1;

	if (!f->n_pages)
		return 0;
	fd = image_pages_open(f->r->dir, f->pages_id);
	if (fd < 0)
		return fd;
	mem = f->compares ? open_memory(f->pid) : -1;
	if (f->compares && mem < 0)
		return mem;
	f->fd = fd;
	f->mem = mem;
	map_file(f);
	while (started + 1 < n && !pthread_create(&threads[started], NULL, work, f))
		started++;
	work(f);
	while (started)
		pthread_join(threads[--started], NULL);
	if (f->map)
		munmap(f->map, f->map_size);
	f->r->stats->pages_restored += f->n_pages - f->same;
	f->r->stats->pages_compared += f->compared;
	f->r->stats->pages_skipped_cow += f->same;
	return f->err;
}
