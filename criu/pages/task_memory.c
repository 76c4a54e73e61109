/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A frozen task's memory, read by process_vm_readv(2), or through /proc/PID/mem where a run says so; or that of its
 * copy, when the task runs again. To read a copy by process_vm_readv(2) would make the kernel copy each page.
 */
#include "pages/task_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"
#include "pages/pages.h"

struct task_memory {
	struct page_source source; /* first */
	const struct task *task;
	bool running;
	int mem; /* /proc/PID/mem, or -1 where no run needs it */
	/* What was read while the task stood: runs, one behind the other; ascending. */
	struct page_run *saved;
	uint8_t *bytes;
	size_t n_saved;
	/* What was listed then as stored elsewhere. */
	struct page_run *elsewhere;
	size_t n_elsewhere;
};

/* The task's own, or that of its copy. */
static int open_mem(struct task_memory *m, pid_t copy)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/mem", copy ?: m->task->pid);
	m->mem = copy ? open(path, O_RDONLY | O_CLOEXEC) : openat(m->task->dump->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (m->mem < 0 && m->running && errno == ESRCH)
		return 0;
	return m->mem < 0 ? log_errno(-errno, "%s: open of %s", task_name(m->task), path) : 0;
}

static int task_memory_open(struct page_source *s, const struct page_transfer *t)
{
	struct task_memory *m = (struct task_memory *)s;

	return t->force || m->running || m->task->dump->copy ? open_mem(m, m->task->dump->copy) : 0;
}

static int read_task_run(const struct task_memory *m, const struct page_run *run, uint8_t *buf)
{
	size_t len = run->n * PAGE_SIZE;
	struct iovec remote = { (void *)(uintptr_t)run->at, len };
	bool by_mem = m->mem >= 0 && (run->force || m->task->dump->copy);
	ssize_t n =
	    by_mem ? io_pread_all(m->mem, buf, len, (off_t)run->at) : io_read_process(m->task->pid, buf, &remote, 1);

	if (n == (by_mem ? (ssize_t)len : 0))
		return 0;
	if (m->task->dump->copy && n >= 0)
		return log_errno(-ESRCH, "%s: the copy of its memory (pid %d) is gone at %" PRIx64, task_name(m->task),
		                 m->task->dump->copy, run->at);
	return log_errno(n < 0 ? (int)n : -EFAULT, "%s: %s of %" PRIu64 " pages at %" PRIx64, task_name(m->task),
	                 by_mem ? "pread of /proc/PID/mem" : "process_vm_readv", run->n, run->at);
}

/*
 * What a running task has no more. Through /proc/PID/mem, which does not ask for protections: a page that only lost its
 * own is still there, and nobody has written to it.
 */
static void read_what_is_left(const struct task_memory *m, const struct page_run *run, uint8_t *buf)
{
	for (uint64_t i = 0; i < run->n; i++, buf += PAGE_SIZE)
		if (m->mem < 0 || io_pread_all(m->mem, buf, PAGE_SIZE, (off_t)(run->at + i * PAGE_SIZE)) != PAGE_SIZE)
			memset(buf, 0, PAGE_SIZE);
}

/* All runs in one call. False: they have to be read one by one. */
static bool read_at_once(const struct task_memory *m, const struct page_run *runs, size_t n, uint8_t *buf)
{
	struct iovec remote[BATCH_PAGES];

	for (size_t i = 0; i < n; i++) {
		if (runs[i].force || m->task->dump->copy)
			return false;
		remote[i] = (struct iovec) { (void *)(uintptr_t)runs[i].at, runs[i].n * PAGE_SIZE };
	}
	return !io_read_process(m->task->pid, buf, remote, n);
}

/* From one address on, at most len bytes, of what was read already; 0: nothing. */
static size_t take_some(const struct task_memory *m, raddr_t at, uint8_t *buf, size_t len)
{
	const uint8_t *from = m->bytes;

	for (size_t i = 0; i < m->n_saved; i++) {
		const struct page_run *s = &m->saved[i];

		if (at >= s->at && at < page_run_end(s)) {
			len = MIN(len, page_run_end(s) - at);
			memcpy(buf, from + (at - s->at), len);
			return len;
		}
		from += s->n * PAGE_SIZE;
	}
	return 0;
}

static int take_saved(const struct task_memory *m, const struct page_run *run, uint8_t *buf)
{
	for (size_t at = 0, got; at < run->n * PAGE_SIZE; at += got) {
		got = take_some(m, run->at + at, buf + at, run->n * PAGE_SIZE - at);
		if (!got)
			return log_errno(-EFAULT, "%s: the page at %" PRIx64 " was not saved", task_name(m->task),
			                 run->at + at);
	}
	return 0;
}

static int task_memory_read(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf)
{
	const struct task_memory *m = (struct task_memory *)s;
	int err = 0;

	if (read_at_once(m, runs, n, buf))
		return 0;
	for (size_t i = 0; !err && i < n; i++) {
		if (m->running)
			read_what_is_left(m, &runs[i], buf);
		else if (runs[i].now)
			err = take_saved(m, &runs[i], buf);
		else
			err = read_task_run(m, &runs[i], buf);
		buf += runs[i].n * PAGE_SIZE;
	}
	return err;
}

static void task_memory_close(struct page_source *s)
{
	struct task_memory *m = (struct task_memory *)s;

	cleanup_close(&m->mem);
	free(m->saved);
	free(m->elsewhere);
	free(m->bytes);
	free(m);
}

static int save_runs(struct task_memory *m, const struct page_transfer *t)
{
	uint8_t *to = m->bytes;
	int err = open_mem(m, 0);

	for (size_t i = 0; !err && i < t->n_runs; i++) {
		err = read_task_run(m, &t->runs[i], to);
		to += t->runs[i].n * PAGE_SIZE;
		m->saved[m->n_saved++] = t->runs[i];
	}
	cleanup_close(&m->mem);
	return err;
}

static int keep_elsewhere(struct task_memory *m, const struct page_transfer *t)
{
	size_t size = t->n_elsewhere * sizeof(*m->elsewhere);

	m->elsewhere = malloc(MAX(size, 1));
	if (!m->elsewhere)
		return log_errno(-ENOMEM, "%s: out of memory for %zu runs of pages", task_name(m->task),
		                 t->n_elsewhere);
	memcpy(m->elsewhere, t->elsewhere, size);
	m->n_elsewhere = t->n_elsewhere;
	return 0;
}

int task_memory_read_now(struct page_transfer *t)
{
	struct task_memory *m = (struct task_memory *)t->source;
	int err = t->n_elsewhere ? keep_elsewhere(m, t) : 0;

	if (!err && t->n_runs) {
		m->saved = calloc(t->n_runs, sizeof(*m->saved));
		m->bytes = malloc(t->n_pages * PAGE_SIZE);
		err = m->saved && m->bytes ? save_runs(m, t)
		                           : log_errno(-ENOMEM, "%s: out of memory for %" PRIu64 " pages",
		                                       task_name(m->task), t->n_pages);
	}
	t->n_runs = t->n_batches = t->n_elsewhere = 0;
	t->n_pages = 0;
	t->force = false;
	return err;
}

/* Of ascending runs, what lies between two addresses. */
static int add_parts(struct page_transfer *t, const struct page_run *runs, size_t n, raddr_t start, raddr_t end,
                     int (*add)(struct page_transfer *t, const struct page_run *run))
{
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		if (runs[i].at < end && page_run_end(&runs[i]) > start) {
			struct page_run part =
			    page_run_part(&runs[i], MAX(start, runs[i].at), MIN(end, page_run_end(&runs[i])));

			err = add(t, &part);
		}
	return err;
}

int pages_add_saved(struct page_transfer *t, raddr_t start, raddr_t end)
{
	const struct task_memory *m = (struct task_memory *)t->source;

	return add_parts(t, m->saved, m->n_saved, start, end, pages_add)
	           ?: add_parts(t, m->elsewhere, m->n_elsewhere, start, end, pages_add_elsewhere);
}

struct page_source *task_memory_source(const struct task *t, bool running)
{
	static const struct page_source_ops ops = {
		.open = task_memory_open,
		.read = task_memory_read,
		.close = task_memory_close,
	};
	struct task_memory *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct task_memory) { .source.ops = &ops, .task = t, .running = running, .mem = -1 };
	return &m->source;
}
