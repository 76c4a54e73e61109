/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A file of pages, one behind the other in the order of the pagemap.
 *
 * Where there are checksums, pages are read into a hot buffer, checked there and written: what was checked is what the
 * memory gets, whoever writes into the file meanwhile. Of 1 GiB that takes 50 ms of processor time in a dump that takes
 * 850, and 90 in a restore that takes 730, on as many threads as there are processors.
 *
 * Without (CRIU's), much is taken from a mapping of the file, made present batch by batch: of 1 GiB in the page cache
 * into huge pages that took 310 to 390 ms of processor time, where reading into a hot buffer first took 405 to 490;
 * into 4 KiB pages 500 and 570. The mapping is never looked at here but by the kernel: a file cut short is EFAULT, not
 * a signal.
 */
#include "pages/pages_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "lib/io.h"
#include "lib/log.h"
#include "pages/page_regions.h"
#include "pages/page_turns.h"

/* ---- the sink ---- */

/*
 * Blocks of a large file are asked for in such steps, which makes writing a sixth faster on ext4. Not all at once: most
 * pages may turn out to be zeros. Not in tmpfs, where writing takes a quarter longer for it.
 */
#define ALLOC_STEP (64UL << 20)
#define ALLOC_FROM (4UL << 20)

struct file_sink {
	struct page_sink sink; /* first */
	struct pages_store *store;
	struct image_dir *dir; /* the store's */
	enum image_type type;  /* of the pagemap, and the number in its name */
	uint64_t id;
	uint32_t pages_id;
	int fd;
	uint64_t size; /* bytes of the pages that batches have got */
	bool asks_ahead;
	uint64_t allocated;      /* bytes of the file that were asked for ahead */
	uint64_t most;           /* bytes, if all pages are kept */
	struct page_turns turns; /* of a compressed file, and with a streamer, whose pipe takes bytes in their order */
	uint32_t *sums;          /* of its pages */
	struct region_sizes regions;
};

static bool asks_ahead(const struct file_sink *f)
{
	struct statfs fs;

	return f->most >= ALLOC_FROM && !image_dir_streams(f->dir) && !f->store->codec && !fstatfs(f->fd, &fs) &&
	       fs.f_type != TMPFS_MAGIC;
}

static int file_sink_open(struct page_sink *s, const struct page_transfer *t)
{
	struct file_sink *f = (struct file_sink *)s;

	f->most = t->n_pages * PAGE_SIZE;
	f->sums = calloc(t->n_pages + 1, sizeof(*f->sums)); /* what is not used takes no memory */
	if (!f->sums)
		return log_errno(-ENOMEM, "out of memory for the checksums of %" PRIu64 " pages", t->n_pages);
	if (f->store->codec) {
		int err = page_regions_sizes_begin(&f->regions, t->n_batches);

		if (err)
			return err;
	}
	f->fd = image_pages_create(f->dir, f->pages_id);
	if (f->fd < 0)
		return f->fd;
	f->asks_ahead = asks_ahead(f);
	return 0;
}

static void file_sink_place(struct page_sink *s, struct page_load *load)
{
	struct file_sink *f = (struct file_sink *)s;

	page_turns_place(&f->turns, load);
	f->size += load->len;
	if (!f->asks_ahead || f->size <= f->allocated)
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

static int write_at(const struct file_sink *f, const uint8_t *bytes, size_t len, uint64_t at)
{
	int err = io_pwrite_all(f->fd, bytes, len, (off_t)at);

	return err ? log_errno(err, "pwrite to pages-%u.img", f->pages_id) : 0;
}

/* A region that has been compressed, or not, where that would not make it smaller. */
struct packed_load {
	struct file_sink *sink;
	const uint8_t *bytes;
	size_t len;
	uint64_t at;
};

static int place_packed(void *arg, const struct page_load *load)
{
	struct packed_load *p = arg;
	struct file_sink *f = p->sink;

	p->at = page_regions_sizes_add(&f->regions, load->batch->n_kept, (uint32_t)p->len);
	return image_dir_streams(f->dir) ? image_pages_append(f->dir, f->pages_id, f->fd, p->bytes, p->len) : 0;
}

/* Its place is known when those before have been compressed. Without memory for that it has its turn nevertheless. */
static int write_packed(struct file_sink *f, const struct page_load *load)
{
	struct codec_room *room = page_codec_take(f->store->codec);
	struct packed_load p = { .sink = f, .bytes = load->bytes, .len = load->len };
	size_t n = room ? page_codec_pack(f->store->codec, room, load->bytes, load->len) : 0;
	int err;

	if (n) {
		p.bytes = page_codec_room_bytes(room);
		p.len = n;
	}
	err = page_turns_write(&f->turns, load, place_packed, &p);
	if (!err && !image_dir_streams(f->dir))
		err = write_at(f, p.bytes, p.len, p.at);
	if (room)
		page_codec_give(f->store->codec, room);
	return err;
}

static int file_sink_write(struct page_sink *s, const struct page_load *load)
{
	struct file_sink *f = (struct file_sink *)s;

	if (!load->len)
		return 0;
	page_sums_make(f->sums + load->offset / PAGE_SIZE, load->bytes, load->len / PAGE_SIZE);
	if (f->store->codec)
		return write_packed(f, load);
	if (image_dir_streams(f->dir))
		return page_turns_write(&f->turns, load, append_load, f);
	/* Not every file system can; and where there is no room, writing says so. */
	if (load->alloc_len)
		(void)!fallocate(f->fd, 0, (off_t)load->alloc, (off_t)load->alloc_len);
	return write_at(f, load->bytes, load->len, load->offset);
}

static int add_to_pagemap(void *arg, const struct page_run *run)
{
	return pagemap_add(arg, run);
}

static int file_sink_finish(struct page_sink *s, const struct page_transfer *t)
{
	struct file_sink *f = (struct file_sink *)s;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct pagemap_writer w;
	int err;

	head.pages_id = f->pages_id;
	if (f->store->codec)
		page_regions_sizes_put(&f->regions, page_codec_kind(f->store->codec), &head);
	if (f->size < f->allocated && ftruncate(f->fd, (off_t)f->size))
		return log_errno(-errno, "ftruncate of pages-%u.img to %" PRIu64 " bytes", f->pages_id, f->size);
	err = image_pages_end(f->dir, f->pages_id, &f->fd, f->store->codec ? f->regions.total : f->size)
	          ?: page_sums_write(&f->store->sums, f->pages_id, f->sums, f->size / PAGE_SIZE);
	if (err)
		return err;
	err = pagemap_create(&w, f->dir, f->type, f->id, &head, t->knows_cow);
	if (!err)
		err = page_transfer_each_listed(t, add_to_pagemap, &w);
	return pagemap_close(&w, err);
}

static void file_sink_close(struct page_sink *s)
{
	struct file_sink *f = (struct file_sink *)s;

	cleanup_close(&f->fd);
	page_turns_end(&f->turns);
	page_regions_sizes_free(&f->regions);
	free(f->sums);
	free(f);
}

struct page_sink *pages_file_sink(struct pages_store *store, enum image_type type, uint64_t id, uint32_t pages_id)
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
	*f = (struct file_sink) {
		.sink.ops = &ops,
		.store = store,
		.dir = store->dir,
		.type = type,
		.id = id,
		.pages_id = pages_id,
		.fd = -1,
	};
	page_turns_begin(&f->turns);
	return &f->sink;
}

/* ---- the source ---- */

struct file_source {
	struct page_source source; /* first */
	struct image_dir *dir;
	const struct pagemap *pagemap;
	int fd;
	uint64_t base; /* where the file's bytes begin in fd */
	uint8_t *map;  /* of the whole file, or NULL */
	size_t map_size;
	struct page_codec *codec; /* of a compressed file */
	bool warned;
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

	f->fd = image_pages_open(f->dir, f->pagemap->pages_id, &f->base, &size);
	if (f->fd < 0)
		return f->fd;
	if (f->pagemap->regions)
		return page_codec_open(f->pagemap->regions->compression, 0, &f->codec);
	if (!t->compare && t->n_pages >= MANY_PAGES && !f->pagemap->sums)
		map_file(f, t);
	return 0;
}

/* What lies in one region is read at once. */
static bool file_source_follows(const struct page_source *s, const struct page_run *last, const struct page_run *run)
{
	const struct page_regions *regions = ((const struct file_source *)s)->pagemap->regions;

	if (regions)
		return page_regions_find(regions, last->stored) == page_regions_find(regions, run->stored);
	return last->stored + last->n * PAGE_SIZE == run->stored;
}

/* ---- checksums ---- */

/* The address in memory, or the offset in an object, of the page that is stored there. */
static raddr_t address_of(const struct pagemap *map, uint64_t stored)
{
	for (size_t i = 0; i < map->n_runs; i++) {
		const struct page_run *run = &map->runs[i];

		if (!run->with_parent && !run->in_file && stored - run->stored < run->n * PAGE_SIZE)
			return run->at + (stored - run->stored);
	}
	return 0;
}

static int page_is_damaged(struct file_source *f, uint64_t stored)
{
	const struct pagemap *map = f->pagemap;

	if (!image_dir_allows_edited(f->dir))
		return log_errno(
		    -EBADMSG,
		    "%s: the page at 0x%" PRIx64 " (page %" PRIu64 " of pages-%u.img) is damaged or was "
		    "changed: its checksum is not that of page-sums.img (--allow-edited-images takes it as "
		    "it is)",
		    map->owner, address_of(map, stored), stored / PAGE_SIZE, map->pages_id);
	if (!__atomic_exchange_n(&f->warned, true, __ATOMIC_RELAXED))
		log_warn("%s: the page at 0x%" PRIx64 " is not as it was dumped, and perhaps others of pages-%u.img",
		         map->owner, address_of(map, stored), map->pages_id);
	return 0;
}

static int check_pages(struct file_source *f, const struct page_run *runs, size_t n, const uint8_t *bytes)
{
	const struct pagemap *map = f->pagemap;
	int err = 0;

	for (size_t i = 0; !err && map->sums && i < n; i++) {
		uint64_t first = runs[i].stored / PAGE_SIZE;
		size_t good = page_sums_check(map->sums, map->pages_id, first, bytes, runs[i].n);

		if (good < runs[i].n)
			err = page_is_damaged(f, (first + good) * PAGE_SIZE);
		bytes += runs[i].n * PAGE_SIZE;
	}
	return err;
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

/* ---- compressed regions ---- */

static int read_at(const struct file_source *f, uint8_t *buf, size_t len, uint64_t at)
{
	ssize_t got = io_pread_all(f->fd, buf, len, (off_t)(f->base + at));

	if (got == (ssize_t)len)
		return 0;
	return log_errno(got < 0 ? (int)got : -EBADMSG, "pread of pages-%u.img, %zu bytes at %" PRIu64,
	                 f->pagemap->pages_id, len, at);
}

static int unpack_region(const struct file_source *f, struct codec_room *room, const struct page_region *region,
                         uint8_t *buf)
{
	size_t packed = region[1].at - region->at, len = region[1].stored - region->stored;
	const struct pagemap *map = f->pagemap;
	int err;

	if (packed == len)
		return read_at(f, buf, len, region->at);
	err = read_at(f, page_codec_room_bytes(room), packed, region->at);
	if (err || page_codec_unpack(f->codec, room, page_codec_room_bytes(room), packed, buf, len))
		return err;
	return log_errno(-EBADMSG,
	                 "%s: the %zu pages from 0x%" PRIx64 " on are damaged: the %zu bytes at %" PRIu64
	                 " of pages-%u.img cannot be decompressed",
	                 map->owner, len / PAGE_SIZE, address_of(map, region->stored), packed, region->at,
	                 map->pages_id);
}

/* The part of a run that lies in one region; *lenp: how much that is. */
static int read_part(const struct file_source *f, struct codec_room *room, uint64_t stored, uint64_t *lenp,
                     uint8_t *buf)
{
	const struct page_region *region = page_regions_find(f->pagemap->regions, stored);
	const void **has = page_codec_room_has(room);
	int err = 0;

	*lenp = MIN(*lenp, region[1].stored - stored);
	if (*lenp == region[1].stored - region->stored)
		return unpack_region(f, room, region, buf);
	if (*has != region) {
		*has = NULL;
		err = unpack_region(f, room, region, page_codec_room_pages(room));
	}
	if (err)
		return err;
	*has = region;
	memcpy(buf, page_codec_room_pages(room) + (stored - region->stored), *lenp);
	return 0;
}

static int read_packed(struct file_source *f, const struct page_run *runs, size_t n, uint8_t *buf)
{
	struct codec_room *room = page_codec_take(f->codec);
	int err = room ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++) {
		for (uint64_t at = 0, size = runs[i].n * PAGE_SIZE, len; !err && at < size; at += len) {
			len = size - at;
			err = read_part(f, room, runs[i].stored + at, &len, buf);
			buf += len;
		}
	}
	if (room)
		page_codec_give(f->codec, room);
	return err;
}

/* A batch lies together in the file, see file_source_follows(). */
static int file_source_read(struct page_source *s, const struct page_run *runs, size_t n, uint8_t *buf)
{
	struct file_source *f = (struct file_source *)s;
	uint64_t off = runs->stored, len = runs[n - 1].stored + runs[n - 1].n * PAGE_SIZE - off;
	int err = f->codec ? read_packed(f, runs, n, buf) : read_at(f, buf, len, off);

	return err ?: check_pages(f, runs, n, buf);
}

static void file_source_close(struct page_source *s)
{
	struct file_source *f = (struct file_source *)s;

	if (f->map)
		munmap(f->map, f->map_size);
	page_codec_close(f->codec);
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
	*f = (struct file_source) { .source.ops = &ops, .dir = map->dir, .pagemap = map, .fd = -1 };
	return &f->source;
}

/* Of a compressed file the regions say both: how many bytes it has, and how many pages these are. */
static int check_regions(const struct pagemap *map, uint64_t *size)
{
	const struct page_regions *r = map->regions;
	struct page_codec *codec;
	int err;

	if (*size != r->v[r->n].at)
		return log_errno(-EBADMSG, "pages-%u.img has %" PRIu64 " bytes, the regions in %s have %" PRIu64,
		                 map->pages_id, *size, map->name, r->v[r->n].at);
	*size = r->v[r->n].stored;
	err = page_codec_open(r->compression, 0, &codec);
	if (!err)
		page_codec_close(codec);
	return err;
}

int pages_file_check(struct image_dir *dir, const struct pagemap *map)
{
	_cleanup_close_ int fd = -1;
	uint64_t at, size = 0;
	int err;

	if (!map->n_pages)
		return 0;
	log_about(map->name, 0);
	fd = image_pages_open(dir, map->pages_id, &at, &size);
	err = fd < 0 ? fd : map->regions ? check_regions(map, &size) : 0;
	log_about(NULL, 0);
	if (err || size == map->n_pages * PAGE_SIZE)
		return err;
	return log_errno(-EBADMSG, "pages-%u.img has %" PRIu64 " bytes of pages, %s tells of %" PRIu64, map->pages_id,
	                 size, map->name, map->n_pages * PAGE_SIZE);
}
