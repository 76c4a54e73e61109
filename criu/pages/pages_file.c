/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file of pages, one behind the other in the order of the pagemap.
 *
 * Much of it is taken from a mapping of the file, made present batch by batch: of 1 GiB in the page cache into huge
 * pages that took 310 to 390 ms of processor time, where reading into a hot buffer first took 405 to 490, and reading
 * straight into fresh huge pages about 300; into 4 KiB pages 500 and 570. The mapping is never looked at here but by
 * the kernel: a file cut short is EFAULT, not a signal.
 */
#include "pages/pages_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "lib/io.h"
#include "lib/log.h"
#include "pages/page_turns.h"

/* ---- the sink ---- */

/*
 * Blocks of a large file are asked for in such steps, which makes writing a sixth faster on ext4. Not all at once: most
 * pages may turn out to be zeros.
 */
#define ALLOC_STEP (64UL << 20)
#define ALLOC_FROM (4UL << 20)

struct file_sink {
	struct page_sink sink; /* first */
	struct image_dir *dir;
	enum image_type type; /* of the pagemap, and the number in its name */
	uint64_t id;
	uint32_t pages_id;
	int fd;
	uint64_t size;           /* bytes of the file that batches have got */
	uint64_t allocated;      /* bytes of the file that were asked for ahead */
	uint64_t most;           /* bytes, if all pages are kept */
	struct page_turns turns; /* with a streamer, whose pipe takes bytes in their order */
};

static int file_sink_open(struct page_sink *s, const struct page_transfer *t)
{
	struct file_sink *f = (struct file_sink *)s;

	f->most = t->n_pages * PAGE_SIZE;
	f->fd = image_pages_create(f->dir, f->pages_id);
	return f->fd < 0 ? f->fd : 0;
}

static void file_sink_place(struct page_sink *s, struct page_load *load)
{
	struct file_sink *f = (struct file_sink *)s;

	page_turns_place(&f->turns, load);
	f->size += load->len;
	if (f->most < ALLOC_FROM || f->size <= f->allocated || image_dir_streams(f->dir))
		return;
	load->alloc = f->allocated;
	load->alloc_len = MIN(f->most - f->allocated, ALLOC_STEP);
	f->allocated += load->alloc_len;
}

static int append_load(void *arg, const struct page_load *load)
{
	const struct file_sink *f = arg;

	return image_pages_append(f->dir, f->pages_id, f->fd, load->bytes, load->len);
}

static int file_sink_write(struct page_sink *s, const struct page_load *load)
{
	struct file_sink *f = (struct file_sink *)s;
	int err;

	if (image_dir_streams(f->dir))
		return page_turns_write(&f->turns, load, append_load, f);
	/* Not every file system can; and where there is no room, writing says so. */
	if (load->alloc_len)
		(void)!fallocate(f->fd, 0, (off_t)load->alloc, (off_t)load->alloc_len);
	err = io_pwrite_all(f->fd, load->bytes, load->len, (off_t)load->offset);
	return err ? log_errno(err, "pwrite to pages-%u.img", f->pages_id) : 0;
}

static int add_to_pagemap(void *arg, const struct page_run *run)
{
	return pagemap_add(arg, run);
}

static int file_sink_finish(struct page_sink *s, const struct page_transfer *t)
{
	struct file_sink *f = (struct file_sink *)s;
	struct pagemap_writer w;
	int err;

	if (f->size < f->allocated && ftruncate(f->fd, (off_t)f->size))
		return log_errno(-errno, "ftruncate of pages-%u.img to %" PRIu64 " bytes", f->pages_id, f->size);
	err = image_pages_end(f->dir, f->pages_id, &f->fd, f->size);
	if (err)
		return err;
	err = pagemap_create(&w, f->dir, f->type, f->id, f->pages_id, t->knows_cow);
	if (!err)
		err = page_transfer_each_listed(t, add_to_pagemap, &w);
	return pagemap_close(&w, err);
}

static void file_sink_close(struct page_sink *s)
{
	struct file_sink *f = (struct file_sink *)s;

	cleanup_close(&f->fd);
	page_turns_end(&f->turns);
	free(f);
}

struct page_sink *pages_file_sink(struct image_dir *dir, enum image_type type, uint64_t id, uint32_t pages_id)
{
	static const struct page_sink_ops ops = {
		.max_threads = 8,
		.open = file_sink_open,
		.place = file_sink_place,
		.write = file_sink_write,
		.finish = file_sink_finish,
		.close = file_sink_close,
	};
	struct file_sink *f = malloc(sizeof(*f));

	if (!f)
		return NULL;
	*f =
	    (struct file_sink) { .sink.ops = &ops, .dir = dir, .type = type, .id = id, .pages_id = pages_id, .fd = -1 };
	page_turns_begin(&f->turns);
	return &f->sink;
}

/* ---- the source ---- */

struct file_source {
	struct page_source source; /* first */
	struct image_dir *dir;
	uint32_t pages_id;
	int fd;
	uint64_t base; /* where the file's bytes begin in fd */
	uint8_t *map;  /* of the whole file, or NULL */
	size_t map_size;
};

/* Not every file system can: then the file is read. */
static void map_file(struct file_source *f, const struct page_transfer *t)
{
	const struct page_run *last = &t->runs[t->n_runs - 1];

	f->map_size = last->stored + last->n * PAGE_SIZE;
	f->map = mmap(NULL, f->map_size, PROT_READ, MAP_SHARED, f->fd, (off_t)f->base);
	if (f->map == MAP_FAILED)
		f->map = NULL;
}

static int file_source_open(struct page_source *s, const struct page_transfer *t)
{
	struct file_source *f = (struct file_source *)s;
	uint64_t size;

	f->fd = image_pages_open(f->dir, f->pages_id, &f->base, &size);
	if (f->fd < 0)
		return f->fd;
	if (!t->compare && t->n_pages >= MANY_PAGES)
		map_file(f, t);
	return 0;
}

static bool file_source_follows(const struct page_run *last, const struct page_run *run)
{
	return last->stored + last->n * PAGE_SIZE == run->stored;
}

static const uint8_t *file_source_view(struct page_source *s, const struct page_run *runs, size_t len)
{
	const struct file_source *f = (struct file_source *)s;

	if (!f->map)
		return NULL;
	/* Where the kernel cannot make it present at once, writing from it does so page by page. */
	madvise(f->map + runs->stored, len, MADV_POPULATE_READ);
	return f->map + runs->stored;
}

/* A batch lies together in the file, see file_source_follows(). */
static int file_source_read(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf)
{
	const struct file_source *f = (struct file_source *)s;
	uint64_t off = runs->stored, len = runs[n - 1].stored + runs[n - 1].n * PAGE_SIZE - off;
	ssize_t got = io_pread_all(f->fd, buf, len, (off_t)(f->base + off));

	if (got == (ssize_t)len)
		return 0;
	return log_errno(got < 0 ? (int)got : -EBADMSG, "pread of pages-%u.img, %" PRIu64 " bytes at %" PRIu64,
	                 f->pages_id, len, off);
}

static void file_source_close(struct page_source *s)
{
	struct file_source *f = (struct file_source *)s;

	if (f->map)
		munmap(f->map, f->map_size);
	cleanup_close(&f->fd);
	free(f);
}

struct page_source *pages_file_source(const struct pagemap *map)
{
	static const struct page_source_ops ops = {
		.open = file_source_open,
		.read = file_source_read,
		.follows = file_source_follows,
		.view = file_source_view,
		.close = file_source_close,
	};
	struct file_source *f = malloc(sizeof(*f));

	if (!f)
		return NULL;
	*f = (struct file_source) { .source.ops = &ops, .dir = map->dir, .pages_id = map->pages_id, .fd = -1 };
	return &f->source;
}

int pages_file_check(struct image_dir *dir, const struct pagemap *map)
{
	_cleanup_close_ int fd = -1;
	uint64_t at, size = 0;

	if (!map->n_pages)
		return 0;
	log_about(map->name, 0);
	fd = image_pages_open(dir, map->pages_id, &at, &size);
	log_about(NULL, 0);
	if (fd < 0)
		return fd;
	if (size == map->n_pages * PAGE_SIZE)
		return 0;
	return log_errno(-EBADMSG, "pages-%u.img has %" PRIu64 " bytes, %s tells of %" PRIu64, map->pages_id, size,
	                 map->name, map->n_pages * PAGE_SIZE);
}
