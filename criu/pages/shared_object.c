/* SPDX-License-Identifier: GPL-2.0-only */
/* The data of shared memory: read from the object itself, once, whatever tasks map it. */
#include "pages/shared_object.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "pages/pages.h"

struct shared_object {
	struct page_source source; /* first */
	const struct task *task;   /* that has it */
	const char *path;          /* the caller's */
	uint64_t size;
	int fd;
};

static int add_data_range(struct page_transfer *t, uint64_t data, uint64_t hole, bool zeros, uint64_t *scanned)
{
	struct page_run run = { .at = round_down(data, PAGE_SIZE), .drop_zero = !zeros };

	run.n = round_up(hole - run.at, PAGE_SIZE) / PAGE_SIZE;
	*scanned += run.n;
	return pages_add(t, &run);
}

int shared_object_scan(struct page_source *s, struct page_transfer *t, bool zeros, uint64_t *scanned)
{
	const struct shared_object *o = (struct shared_object *)s;
	off_t data = 0, hole;
	int err = 0;

	*scanned = 0;
	while (!err && (uint64_t)data < o->size) {
		data = lseek(o->fd, data, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			break;
		hole = data < 0 ? data : lseek(o->fd, data, SEEK_HOLE);
		if (hole <= data)
			return log_errno(hole < 0 ? -errno : -EBADMSG, "%s: lseek(SEEK_DATA) in shared memory (%s)",
			                 task_name(o->task), o->path);
		err = add_data_range(t, (uint64_t)data, (uint64_t)hole, zeros, scanned);
		data = hole;
	}
	return err;
}

static int read_object_run(const struct shared_object *o, const struct page_run *run, uint8_t *buf)
{
	size_t len = run->n * PAGE_SIZE;
	ssize_t n = io_pread_all(o->fd, buf, len, (off_t)run->at);

	if (n <= 0)
		return log_errno(n < 0 ? (int)n : -EFAULT, "%s: pread of %" PRIu64 " pages at %" PRIx64 " of %s",
		                 task_name(o->task), run->n, run->at, o->path);
	memset(buf + n, 0, len - (size_t)n); /* the object may end within its last page */
	return 0;
}

static int shared_object_read(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf)
{
	const struct shared_object *o = (struct shared_object *)s;
	int err = 0;

	for (size_t i = 0; !err && i < n; i++) {
		err = read_object_run(o, &runs[i], buf);
		buf += runs[i].n * PAGE_SIZE;
	}
	return err;
}

static void shared_object_close(struct page_source *s)
{
	struct shared_object *o = (struct shared_object *)s;

	cleanup_close(&o->fd);
	free(o);
}

static int open_object(struct shared_object *o, uint64_t ino)
{
	struct stat st;

	o->fd = open(o->path, O_RDONLY | O_CLOEXEC);
	if (o->fd < 0)
		return log_errno(-errno, "%s: open of shared memory through %s", task_name(o->task), o->path);
	if (fstat(o->fd, &st))
		return log_errno(-errno, "%s: fstat of %s", task_name(o->task), o->path);
	if (st.st_ino != ino)
		return log_errno(-ESTALE, "%s: %s is another object than before", task_name(o->task), o->path);
	o->size = (uint64_t)st.st_size;
	return 0;
}

struct page_source *shared_object_source(const struct task *t, const char *path, uint64_t ino, int *errp)
{
	static const struct page_source_ops ops = { .read = shared_object_read, .close = shared_object_close };
	struct shared_object *o = malloc(sizeof(*o));

	if (!o) {
		*errp = log_errno(-ENOMEM, "%s: out of memory", task_name(t));
		return NULL;
	}
	*o = (struct shared_object) { .source.ops = &ops, .task = t, .path = path, .fd = -1 };
	*errp = open_object(o, ino);
	if (!*errp)
		return &o->source;
	shared_object_close(&o->source);
	return NULL;
}
