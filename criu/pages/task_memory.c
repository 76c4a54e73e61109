/* SPDX-License-Identifier: GPL-2.0-only */
/* A task's memory, read by process_vm_readv(2), or through /proc/PID/mem where a run says so. */
#include "pages/task_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"

struct task_memory {
	struct page_source source; /* first */
	const struct task *task;
	bool running;
	int mem; /* /proc/PID/mem, or -1 where no run needs it */
};

static int task_memory_open(struct page_source *s, const struct page_transfer *t)
{
	struct task_memory *m = (struct task_memory *)s;

	if (!t->force && !m->running)
		return 0;
	m->mem = openat(m->task->dump->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (m->mem < 0 && m->running && errno == ESRCH)
		return 0;
	return m->mem < 0 ? log_errno(-errno, "%s: open of /proc/%d/mem", task_name(m->task), m->task->pid) : 0;
}

static int read_task_run(const struct task_memory *m, const struct page_run *run, uint8_t *buf)
{
	size_t len = run->n * PAGE_SIZE;
	struct iovec remote = { (void *)(uintptr_t)run->at, len };
	ssize_t n = run->force ? io_pread_all(m->mem, buf, len, (off_t)run->at)
	                       : io_read_process(m->task->pid, buf, &remote, 1);

	if (n == (run->force ? (ssize_t)len : 0))
		return 0;
	return log_errno(n < 0 ? (int)n : -EFAULT, "%s: %s of %" PRIu64 " pages at %" PRIx64, task_name(m->task),
	                 run->force ? "pread of /proc/PID/mem" : "process_vm_readv", run->n, run->at);
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
		if (runs[i].force)
			return false;
		remote[i] = (struct iovec) { (void *)(uintptr_t)runs[i].at, runs[i].n * PAGE_SIZE };
	}
	return !io_read_process(m->task->pid, buf, remote, n);
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
	free(m);
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
