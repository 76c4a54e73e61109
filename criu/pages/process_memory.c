/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages are written with process_vm_writev(2), a batch in one call, to where they are mapped and can be written; those
 * of read-only mappings through /proc/PID/mem.
 */
#include "pages/process_memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "lib/io.h"
#include "lib/log.h"

struct process_memory {
	struct page_sink sink; /* first */
	pid_t pid;
	int mem; /* /proc/PID/mem, or -1 where nothing is compared or forced */
	struct page_compare *counts;
};

static int process_memory_open(struct page_sink *s, const struct page_transfer *t)
{
	struct process_memory *m = (struct process_memory *)s;
	char path[40];

	if (!t->compare && !t->force)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/mem", m->pid);
	m->mem = open(path, (t->force ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return m->mem < 0 ? log_errno(-errno, "open of %s", path) : 0;
}

static int write_runs(const struct process_memory *m, const uint8_t *bytes, size_t len, struct iovec *remote, size_t n)
{
	uintptr_t at = n ? (uintptr_t)remote->iov_base : 0;
	int err = io_write_process(m->pid, bytes, remote, n);

	if (!err)
		return 0;
	return log_errno(err, "pid %d: process_vm_writev of %zu bytes from 0x%" PRIxPTR, m->pid, len, at);
}

/*
 * Writes the pages of a run that differ from what memory holds. Memory is read through /proc/PID/mem:
 * process_vm_readv() pins pages, for which the kernel copies those that a fork shares first, and nothing would stay
 * shared.
 */
static int write_different(const struct process_memory *m, const struct page_run *run, const uint8_t *bytes,
                           uint8_t *now)
{
	size_t len = run->n * PAGE_SIZE;
	uint64_t same = 0;
	int err = 0;

	if (io_pread_all(m->mem, now, len, (off_t)run->at) != (ssize_t)len)
		return log_errno(-EFAULT, "pid %d: pread of /proc/PID/mem, %zu bytes at 0x%" PRIx64, m->pid, len,
		                 run->at);
	for (size_t at = 0; !err && at < len; at += PAGE_SIZE) {
		struct iovec page = { (void *)(uintptr_t)(run->at + at), PAGE_SIZE };

		if (!memcmp(bytes + at, now + at, PAGE_SIZE))
			same++;
		else
			err = write_runs(m, bytes + at, PAGE_SIZE, &page, 1);
	}
	__atomic_fetch_add(&m->counts->compared, run->n, __ATOMIC_RELAXED);
	__atomic_fetch_add(&m->counts->same, same, __ATOMIC_RELAXED);
	return err;
}

static int write_forced(const struct process_memory *m, const struct page_run *run, const uint8_t *bytes)
{
	size_t len = run->n * PAGE_SIZE;
	int err = io_pwrite_all(m->mem, bytes, len, (off_t)run->at);

	return err ? log_errno(err, "pid %d: pwrite of /proc/PID/mem, %zu bytes at 0x%" PRIx64, m->pid, len, run->at)
	           : 0;
}

/* What is not written together with others. */
static int write_alone(const struct process_memory *m, const struct page_run *run, const uint8_t *bytes,
                       const struct page_load *load)
{
	return run->force ? write_forced(m, run, bytes) : write_different(m, run, bytes, load->scratch);
}

static int process_memory_write(struct page_sink *s, const struct page_load *load)
{
	const struct process_memory *m = (struct process_memory *)s;
	struct iovec remote[BATCH_PAGES]; /* runs that wait to be written, which begin at bytes + from */
	size_t n = 0, at = 0, from = 0;
	int err = 0;

	for (size_t i = 0; !err && i < load->n_runs; i++) {
		const struct page_run *run = &load->runs[i];
		size_t len = run->n * PAGE_SIZE;

		if (run->compare || run->force) {
			err = write_runs(m, load->bytes + from, at - from, remote, n);
			if (!err)
				err = write_alone(m, run, load->bytes + at, load);
			n = 0;
			from = at + len;
		} else {
			remote[n++] = (struct iovec) { (void *)(uintptr_t)run->at, len };
		}
		at += len;
	}
	return err ?: write_runs(m, load->bytes + from, at - from, remote, n);
}

static void process_memory_close(struct page_sink *s)
{
	struct process_memory *m = (struct process_memory *)s;

	cleanup_close(&m->mem);
	free(m);
}

struct page_sink *process_memory_sink(pid_t pid, struct page_compare *counts)
{
	static const struct page_sink_ops ops = {
		.max_threads = 16,
		.open = process_memory_open,
		.write = process_memory_write,
		.close = process_memory_close,
	};
	struct process_memory *m = malloc(sizeof(*m));

	if (!m)
		return NULL;
	*m = (struct process_memory) { .sink.ops = &ops, .pid = pid, .mem = -1, .counts = counts };
	return &m->sink;
}
