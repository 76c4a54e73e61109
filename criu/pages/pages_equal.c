/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Both directions move pages as any others are moved. The sink of a dump writes nothing: it compares. The source of a
 * restore is the task's mapping itself, so that it makes no difference how the file is opened: what was read, and has
 * the right checksum, is written to where it was read.
 */
#include "pages/pages_equal.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/page_sums.h"
#include "pages/pages.h"
#include "pages/process_memory.h"
#include "pages/task_memory.h"

/* ---- dump ---- */

struct compare_sink {
	struct page_sink sink; /* first */
	const struct file_part *parts;
	size_t n_parts;
	uint64_t placed; /* bytes */
	/* Of each page that was listed: its checksum, and whether it is equal. */
	uint64_t *sums;
	bool *same;
};

static int compare_open(struct page_sink *s, const struct page_transfer *t)
{
	struct compare_sink *c = (struct compare_sink *)s;

	c->sums = calloc(t->n_pages + 1, sizeof(*c->sums)); /* what is not used takes no memory */
	c->same = calloc(t->n_pages + 1, sizeof(*c->same));
	return c->sums && c->same ? 0 : log_errno(-ENOMEM, "out of memory for comparing %" PRIu64 " pages", t->n_pages);
}

static void compare_place(struct page_sink *s, struct page_load *load)
{
	struct compare_sink *c = (struct compare_sink *)s;

	load->offset = c->placed;
	c->placed += load->len;
}

static const struct file_part *part_at(const struct compare_sink *c, raddr_t at)
{
	size_t low = 0, high = c->n_parts;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (c->parts[mid].end > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low < c->n_parts && c->parts[low].start <= at ? &c->parts[low] : NULL;
}

/* A page that the file has not, or not all of, or that cannot be read, is not equal. */
static void compare_part(struct compare_sink *c, size_t first, const uint8_t *bytes, uint8_t *file, ssize_t len)
{
	for (ssize_t at = 0; at + (ssize_t)PAGE_SIZE <= len; at += PAGE_SIZE, first++) {
		if (memcmp(bytes + at, file + at, PAGE_SIZE))
			continue;
		c->same[first] = true;
		c->sums[first] = htole64(page_sums_of_page(bytes + at));
	}
}

static int compare_write(struct page_sink *s, const struct page_load *load)
{
	struct compare_sink *c = (struct compare_sink *)s;
	const uint8_t *bytes = load->bytes;
	size_t first = load->offset / PAGE_SIZE;

	for (size_t i = 0; i < load->n_runs; i++) {
		const struct page_run *run = &load->runs[i];

		for (raddr_t at = run->at, next; at < page_run_end(run); at = next) {
			const struct file_part *p = part_at(c, at);
			size_t len;

			next = p ? MIN(p->end, page_run_end(run)) : at + PAGE_SIZE;
			len = next - at;
			if (p)
				compare_part(
				    c, first, bytes, load->scratch,
				    io_pread_all(p->fd, load->scratch, len, (off_t)(p->offset + (at - p->start))));
			first += len / PAGE_SIZE;
			bytes += len;
		}
	}
	return 0;
}

static void compare_close(struct page_sink *s)
{
	struct compare_sink *c = (struct compare_sink *)s;

	free(c->sums);
	free(c->same);
	free(c);
}

static struct page_sink *compare_sink(void)
{
	static const struct page_sink_ops ops = {
		.max_threads = 8,
		.open = compare_open,
		.place = compare_place,
		.write = compare_write,
		.close = compare_close,
	};
	struct compare_sink *c = malloc(sizeof(*c));

	if (!c)
		return NULL;
	*c = (struct compare_sink) { .sink.ops = &ops };
	return &c->sink;
}

int pages_equal_begin(const struct task *t, struct page_transfer **tp)
{
	struct page_transfer *p = calloc(1, sizeof(*p));

	if (p) {
		p->source = task_memory_source(t, false);
		p->sink = compare_sink();
	}
	if (p && p->source && p->sink) {
		*tp = p;
		return 0;
	}
	if (p)
		pages_equal_drop(p);
	return log_errno(-ENOMEM, "%s: out of memory for comparing pages with files", task_name(t));
}

void pages_equal_drop(struct page_transfer *t)
{
	page_transfer_free(t);
	free(t);
}

/* What was found of one run, whose first page was listed as that number. sums: where the next ones go. */
static uint8_t *take_equal(const struct compare_sink *c, const struct page_run *run, size_t first, uint8_t *sums,
                           struct arena *a, struct page_run **runs, size_t *n)
{
	for (uint64_t i = 0, k; i < run->n; i = k) {
		struct page_run same = { .at = run->at + i * PAGE_SIZE, .in_file = true, .file_sums = sums };

		for (k = i; k < run->n && c->same[first + k]; k++)
			;
		same.n = k - i;
		memcpy(sums, c->sums + first + i, same.n * FILE_SUM_BYTES);
		sums += same.n * FILE_SUM_BYTES;
		if (same.n)
			arena_push(a, runs, n, same);
		else
			k++;
	}
	return sums;
}

int pages_equal_find(struct page_transfer *t, const struct file_part *parts, size_t n_parts, struct arena *a,
                     struct page_run **runs, size_t *n)
{
	struct compare_sink *c = (struct compare_sink *)t->sink;
	size_t equal = 0, first = 0;
	uint8_t *sums;
	int err;

	c->parts = parts;
	c->n_parts = n_parts;
	err = page_move(t, 1);
	for (uint64_t i = 0; !err && i < t->n_pages; i++)
		equal += c->same[i];
	if (equal) {
		sums = arena_array(a, uint8_t, equal * FILE_SUM_BYTES);
		for (size_t i = 0; i < t->n_runs; i++) {
			sums = take_equal(c, &t->runs[i], first, sums, a, runs, n);
			first += t->runs[i].n;
		}
	}
	pages_equal_drop(t);
	return err;
}

/* ---- restore ---- */

struct mapped_files {
	struct page_source source; /* first */
	pid_t pid;
	int mem;      /* /proc/PID/mem, which does not ask for protections */
	raddr_t *bad; /* the lowest */
};

static int mapped_open(struct page_source *s, const struct page_transfer *t)
{
	struct mapped_files *m = (struct mapped_files *)s;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/mem", m->pid);
	m->mem = open(path, O_RDONLY | O_CLOEXEC);
	return m->mem < 0 ? log_errno(-errno, "open of %s", path) : 0;
}

static int is_not_as_it_was(const struct mapped_files *m, raddr_t at)
{
	raddr_t bad = __atomic_load_n(m->bad, __ATOMIC_RELAXED);

	while (at < bad && !__atomic_compare_exchange_n(m->bad, &bad, at, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	return -ESTALE;
}

/* A file that ends before a page, or cannot be read there, is not what it was. */
static int read_one_by_one(const struct mapped_files *m, const struct page_run *run, uint8_t *buf)
{
	for (raddr_t at = run->at; at < page_run_end(run); at += PAGE_SIZE, buf += PAGE_SIZE)
		if (io_pread_all(m->mem, buf, PAGE_SIZE, (off_t)at) != (ssize_t)PAGE_SIZE)
			return is_not_as_it_was(m, at);
	return 0;
}

static int check_sums(const struct mapped_files *m, const struct page_run *run, const uint8_t *bytes)
{
	for (uint64_t i = 0; i < run->n; i++) {
		uint64_t sum = htole64(page_sums_of_page(bytes + i * PAGE_SIZE));

		if (memcmp(&sum, run->file_sums + i * FILE_SUM_BYTES, FILE_SUM_BYTES))
			return is_not_as_it_was(m, run->at + i * PAGE_SIZE);
	}
	return 0;
}

static int mapped_read(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf)
{
	const struct mapped_files *m = (struct mapped_files *)s;
	struct iovec remote[BATCH_PAGES];
	bool at_once;
	int err = 0;

	for (size_t i = 0; i < n; i++)
		remote[i] = (struct iovec) { (void *)(uintptr_t)runs[i].at, runs[i].n * PAGE_SIZE };
	at_once = !io_read_process(m->pid, buf, remote, n);
	for (size_t i = 0; !err && i < n; i++) {
		if (!at_once)
			err = read_one_by_one(m, &runs[i], buf);
		err = err ?: check_sums(m, &runs[i], buf);
		buf += runs[i].n * PAGE_SIZE;
	}
	return err;
}

static void mapped_close(struct page_source *s)
{
	struct mapped_files *m = (struct mapped_files *)s;

	cleanup_close(&m->mem);
	free(m);
}

static struct page_source *mapped_source(pid_t pid, raddr_t *bad)
{
	static const struct page_source_ops ops = {
		.open = mapped_open,
		.read = mapped_read,
		.close = mapped_close,
	};
	struct mapped_files *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct mapped_files) { .source.ops = &ops, .pid = pid, .mem = -1, .bad = bad };
	return &m->source;
}

int pages_equal_fill(struct restore *r, pid_t pid, const struct page_run *runs, size_t n, raddr_t *bad)
{
	struct page_compare none = { 0 };
	struct page_transfer t = { .source = mapped_source(pid, bad), .sink = process_memory_sink(pid, &none) };
	int err = t.source && t.sink ? 0 : log_errno(-ENOMEM, "out of memory for a transfer of pages");

	*bad = UINT64_MAX;
	for (size_t i = 0; !err && i < n; i++)
		err = pages_add(&t, &runs[i]);
	if (!err)
		err = page_move(&t, 1);
	r->stats->pages_restored += err ? 0 : t.n_pages;
	page_transfer_free(&t);
	return err;
}
