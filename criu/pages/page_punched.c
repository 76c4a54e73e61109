/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/page_punched.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "arch_page.h"
#include "image/image_change.h"
#include "inventory.pb-c.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "punched.pb-c.h"

#define PART_RANGES 65536U /* of one entry */

struct punched_file {
	uint32_t pages_id;
	struct ranges where;
};

struct page_punched {
	struct punched_file *files;
	size_t n;
};

static struct punched_file *find_punched(const struct page_punched *p, uint32_t pages_id)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->files[i].pages_id == pages_id)
			return &p->files[i];
	return NULL;
}

static struct punched_file *get_punched(struct page_punched *p, struct arena *a, uint32_t pages_id)
{
	const struct punched_file new = { .pages_id = pages_id };
	struct punched_file *f = find_punched(p, pages_id);

	if (f)
		return f;
	arena_push(a, &p->files, &p->n, new);
	return &p->files[p->n - 1];
}

const struct ranges *page_punched_of(const struct page_punched *p, uint32_t pages_id)
{
	const struct punched_file *f = p ? find_punched(p, pages_id) : NULL;

	return f ? &f->where : NULL;
}

/* ---- reading ---- */

/* The id of the dump that has written the checkpoint; NULL: it has none. */
static int read_run_id(struct image_dir *dir, struct arena *a, const char **idp)
{
	InventoryEntry *inventory = NULL;
	int err = image_read_one(dir, IMG_INVENTORY, 0, a, &inventory);

	*idp = !err ? inventory->dump_criu_run_id : NULL;
	return err == -ENOENT ? 0 : err;
}

static int take_punched(struct page_punched *p, struct arena *a, const PunchedEntry *e)
{
	struct ranges *list = &get_punched(p, a, e->pages_id)->where;
	const uint64_t most = (uint64_t)INT64_MAX / PAGE_SIZE;

	for (size_t i = 0; i < e->n_first; i++) {
		uint64_t after = list->n ? list->r[list->n - 1].end / PAGE_SIZE : 0;

		if (i >= e->n_nr_pages || e->first[i] < after || e->first[i] > most || !e->nr_pages[i] ||
		    e->nr_pages[i] > most - e->first[i])
			return log_errno(-EBADMSG, "punched.img: page %" PRIu64 " of pages-%u.img is out of place",
			                 e->first[i], e->pages_id);
		ranges_push(a, list, e->first[i] * PAGE_SIZE, (e->first[i] + e->nr_pages[i]) * PAGE_SIZE);
	}
	return 0;
}

/* What was written for another checkpoint of the directory, which CRIU has replaced, means nothing. */
static int read_punched(struct image_dir *dir, struct image *img, struct arena *a, struct page_punched *p)
{
	const char *run_id;
	PunchedEntry *e;
	int err = read_run_id(dir, a, &run_id);

	while (!err) {
		err = image_read(img, &punched_entry__descriptor, a, &e);
		if (err <= 0)
			break;
		err = run_id && e->run_id && strcmp(run_id, e->run_id) != 0 ? 0 : take_punched(p, a, e);
	}
	return err;
}

int page_punched_read(struct image_dir *dir, const struct page_punched **pp)
{
	struct page_punched **kept = (struct page_punched **)image_dir_punched(dir);
	struct arena *a = image_dir_arena(dir);
	_cleanup_image_ struct image *img = NULL;
	int err = 0;

	if (!a)
		return log_errno(-ENOMEM, "out of memory for punched.img");
	if (!*kept && !image_dir_streams(dir)) {
		struct page_punched *p = arena_new_of(a, struct page_punched);

		err = image_open(dir, IMG_PUNCHED, 0, &img);
		err = err == -ENOENT ? 0 : err ?: read_punched(dir, img, a, p);
		if (err)
			return err;
		*kept = p;
	}
	*pp = *kept && (*kept)->n ? *kept : NULL;
	return 0;
}

/* ---- writing ---- */

static int write_punched(struct image *img, const struct punched_file *f, const char *run_id)
{
	_cleanup_free_ uint64_t *v = calloc(2 * MIN(f->where.n, PART_RANGES) + 1, sizeof(*v));
	PunchedEntry e = PUNCHED_ENTRY__INIT;
	int err = v ? 0 : log_errno(-ENOMEM, "out of memory for punched.img");

	e.pages_id = f->pages_id;
	e.run_id = (char *)run_id;
	for (size_t at = 0; !err && at < f->where.n; at += e.n_first) {
		e.n_first = e.n_nr_pages = MIN(f->where.n - at, PART_RANGES);
		e.first = v;
		e.nr_pages = v + e.n_first;
		for (size_t i = 0; i < e.n_first; i++) {
			const struct range *r = &f->where.r[at + i];

			e.first[i] = r->start / PAGE_SIZE;
			e.nr_pages[i] = (r->end - r->start) / PAGE_SIZE;
		}
		err = image_write(img, &e);
	}
	return err;
}

static int write_all_punched(struct image_dir *dir, struct arena *a, const struct page_punched *p)
{
	struct image *img;
	const char *run_id;
	int err = read_run_id(dir, a, &run_id) ?: image_change_create(dir, IMG_PUNCHED, &img), closed;

	if (err)
		return err;
	for (size_t i = 0; !err && i < p->n; i++)
		err = write_punched(img, &p->files[i], run_id);
	closed = image_close(img);
	return err ?: closed ?: image_change_publish(dir, IMG_PUNCHED);
}

/* Under the lock: what has been noted until now, and what is new. */
static int note_punches(struct image_dir *dir, const struct page_punch *list, size_t n)
{
	struct arena *a = image_dir_arena(dir);
	const struct page_punched *before;
	struct page_punched all = { 0 };
	int err;

	*image_dir_punched(dir) = NULL; /* somebody else may have written it since */
	err = page_punched_read(dir, &before);
	if (err)
		return err;
	for (size_t i = 0; before && i < before->n; i++)
		arena_push(a, &all.files, &all.n, before->files[i]);
	for (size_t i = 0; i < n; i++) {
		struct punched_file *f = get_punched(&all, a, list[i].pages_id);

		f->where = ranges_either(a, &f->where, &list[i].where);
	}
	*image_dir_punched(dir) = NULL;
	return write_all_punched(dir, a, &all);
}

/* ---- holes ---- */

/* Behind the end there is nothing to lose. */
static int probe_holes(const struct image_dir *dir, uint32_t pages_id)
{
	_cleanup_close_ int fd = image_change_pages(dir, pages_id);
	struct stat st;

	if (fd < 0)
		return fd;
	if (!fstat(fd, &st) && !fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st.st_size, PAGE_SIZE))
		return 0;
	return log_errno(-errno, "%s/pages-%u.img: fallocate(FALLOC_FL_PUNCH_HOLE)", image_dir_path(dir), pages_id);
}

static int punch_file(const struct image_dir *dir, const struct page_punch *p, uint64_t *freed)
{
	_cleanup_close_ int fd = image_change_pages(dir, p->pages_id);
	const int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	struct stat before, after;
	int err = fd < 0 ? fd : 0;

	if (!err && fstat(fd, &before))
		err = log_errno(-errno, "%s/pages-%u.img: fstat", image_dir_path(dir), p->pages_id);
	for (size_t i = 0; !err && i < p->where.n; i++) {
		const struct range *r = &p->where.r[i];
		off_t at = p->packed ? 0 : (off_t)r->start,
		      len = p->packed ? before.st_size : (off_t)(r->end - r->start);

		if (fallocate(fd, how, at, len))
			err = log_errno(-errno, "%s/pages-%u.img: fallocate(FALLOC_FL_PUNCH_HOLE)", image_dir_path(dir),
			                p->pages_id);
		if (!i)
			fault_point("a hole is punched");
	}
	if (!err && !fstat(fd, &after) && before.st_blocks > after.st_blocks)
		*freed += (uint64_t)(before.st_blocks - after.st_blocks) * 512;
	return err;
}

int page_punched_add(struct image_dir *dir, const struct page_punch *list, size_t n, uint64_t *freed)
{
	int err = n ? image_change_begin(dir) : 0;

	if (!n)
		return 0;
	fault_point("a checkpoint is to be punched");
	err = err ?: probe_holes(dir, list[0].pages_id) ?: note_punches(dir, list, n);
	fault_point("what is to be punched is noted");
	for (size_t i = 0; !err && i < n; i++)
		err = punch_file(dir, &list[i], freed);
	image_change_end(dir);
	return err;
}
