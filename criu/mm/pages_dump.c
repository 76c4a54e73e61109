/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of all tasks: found, copied, and told in pagemap images, some streams at a time. */
#include <fcntl.h>

#include "arch_page.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/page_io.h"
#include "pagemap.pb-c.h"

/* Streams that are open at once: each may have three descriptors, and their lists are in memory. */
#define WINDOW 64

struct pages_dump {
	struct dump *d;
	struct mm_shared *shared;
	bool refused; /* pages are looked for, but no longer copied */
	struct page_stream streams[WINDOW];
	size_t n;
};

/* ---- pagemap images ---- */

/* The entry that grows until the next page does not fit to it. */
struct pagemap {
	struct image *img;
	PagemapEntry entry;
};

static int flush_entry(struct pagemap *m)
{
	int err = 0;

	if (m->entry.nr_pages) {
		m->entry.compat_nr_pages = (uint32_t)m->entry.nr_pages;
		err = image_write(m->img, &m->entry);
	}
	m->entry.nr_pages = 0;
	return err;
}

static int add_pages(struct pagemap *m, uint64_t start, uint32_t n, uint32_t flags, bool knows_cow)
{
	PagemapEntry *e = &m->entry;
	bool thp = flags & PIECE_THP, cow = flags & PIECE_COW;
	int err = 0;

	if (e->nr_pages && e->vaddr + e->nr_pages * PAGE_SIZE == start && e->thp == thp && e->cow == cow) {
		e->nr_pages += n;
		return 0;
	}
	err = flush_entry(m);
	e->vaddr = start;
	e->has_nr_pages = e->has_flags = true;
	e->nr_pages = n;
	e->flags = PE_PRESENT;
	e->has_thp = e->thp = thp;
	e->has_cow = knows_cow;
	e->cow = cow;
	return err;
}

/* The pages of a piece that were kept; i: the number of its first page in the chunk. */
static int add_kept(struct pagemap *m, const struct page_stream *s, const struct chunk *c, const struct piece *p,
                    uint32_t i)
{
	int err = 0;

	for (uint32_t k = 0, run; !err && k < p->n; k += run) {
		uint32_t bit = i + k;
		bool kept = c->kept[bit / 64] >> (bit % 64) & 1;

		for (run = 1; k + run < p->n; run++) {
			bit = i + k + run;
			if ((c->kept[bit / 64] >> (bit % 64) & 1) != kept)
				break;
		}
		if (kept)
			err = add_pages(m, p->start + k * PAGE_SIZE, run, p->flags, s->knows_cow);
	}
	return err;
}

static int write_chunk(struct pagemap *m, const struct page_stream *s, const struct chunk *c)
{
	uint32_t page = 0;
	int err = 0;

	for (size_t i = 0; !err && i < c->n_pieces; i++) {
		const struct piece *p = &s->pieces[c->first + i];

		err = add_kept(m, s, c, p, page);
		page += p->n;
	}
	return err;
}

static int write_pagemap(struct pages_dump *pd, const struct page_stream *s)
{
	_cleanup_image_ struct image *img = NULL;
	PagemapHead head = PAGEMAP_HEAD__INIT;
	struct pagemap m = { .entry = PAGEMAP_ENTRY__INIT };
	int err = image_create(pd->d->dir, s->image, s->image_id, &img);

	head.pages_id = s->pages_id;
	m.img = img;
	if (!err)
		err = image_write(img, &head);
	for (size_t i = 0; !err && i < s->n_chunks; i++)
		err = write_chunk(&m, s, &s->chunks[i]);
	if (!err)
		err = flush_entry(&m);
	return err ?: image_close(move_ptr(img));
}

/* ---- streams ---- */

static struct page_stream *new_stream(struct pages_dump *pd, const struct task *t, enum image_type image, uint64_t id)
{
	struct page_stream *s = &pd->streams[pd->n++];

	*s = (struct page_stream) { .task = t, .source = -1, .image = image, .image_id = id, .file = -1, .mem = -1 };
	s->pages_id = ++pd->shared->last_pages_id;
	return s;
}

/* Opens what copying needs. */
static int open_stream(struct pages_dump *pd, struct page_stream *s)
{
	s->file = image_pages_create(pd->d->dir, s->pages_id);
	if (s->file < 0)
		return s->file;
	if (s->force) {
		s->mem = openat(s->task->dump->proc_fd, "mem", O_RDONLY | O_CLOEXEC);
		if (s->mem < 0)
			return log_errno(-errno, "%s: opening /proc/%d/mem", task_name(s->task), s->task->pid);
	}
	return 0;
}

static int close_stream(struct page_stream *s)
{
	if (s->size < s->allocated && ftruncate(s->file, (off_t)s->size))
		return log_errno(-errno, "the size of pages-%u.img", s->pages_id);
	return 0;
}

static void count(struct pages_dump *pd, const struct page_stream *s)
{
	struct stats *stats = pd->d->stats;

	if (s->image == IMG_SHMEM_PAGEMAP) {
		stats->shpages_scanned += s->scanned;
		stats->shpages_written += s->size / PAGE_SIZE;
	} else {
		stats->pages_scanned += s->scanned;
		stats->pages_written += s->size / PAGE_SIZE;
	}
}

/* Copies the pages of the streams that have been found, and forgets them. */
static int flush_streams(struct pages_dump *pd, int err)
{
	uint64_t start = clock_now_us();

	for (size_t i = 0; i < pd->n; i++)
		pd->refused |= pd->streams[i].refused;
	for (size_t i = 0; !err && !pd->refused && i < pd->n; i++)
		err = open_stream(pd, &pd->streams[i]);
	if (!err && !pd->refused)
		err = pages_copy(pd->streams, pd->n);
	for (size_t i = 0; i < pd->n; i++) {
		struct page_stream *s = &pd->streams[i];

		if (!err && !pd->refused)
			err = close_stream(s) ?: write_pagemap(pd, s);
		count(pd, s);
		stream_free(s);
	}
	pd->n = 0;
	pd->d->stats->memwrite_time += clock_now_us() - start;
	return err;
}

static int dump_objects(struct pages_dump *pd)
{
	int err = 0;

	for (const struct shmem_object *o = pd->shared->objects; !err && o; o = o->hh.next) {
		struct page_stream *s = new_stream(pd, o->task, IMG_SHMEM_PAGEMAP, o->ino);

		err = shmem_scan(o, s);
		if (err || pd->n == WINDOW)
			err = flush_streams(pd, err);
	}
	return err;
}

static int dump_tasks(struct pages_dump *pd)
{
	struct tree *tree = &pd->d->tree;
	int err = 0;

	for (size_t i = 0; !err && i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (t->state == TASK_DEAD || tree_first_vm(tree, t) != t)
			continue;
		err = pages_scan(pd->d, t, new_stream(pd, t, IMG_PAGEMAP, (uint64_t)t->vpid.v));
		if (err || pd->n == WINDOW)
			err = flush_streams(pd, err);
	}
	return err;
}

int mm_dump_pages(struct dump *d)
{
	_cleanup_free_ struct pages_dump *pd = calloc(1, sizeof(*pd));
	uint64_t start = clock_now_us();
	int err;

	if (!pd)
		return log_errno(-ENOMEM, "the pages of the tree");
	pd->d = d;
	pd->shared = mm_shared_of(d);
	err = dump_tasks(pd);
	if (!err)
		err = dump_objects(pd);
	err = flush_streams(pd, err);
	d->stats->memdump_time = clock_now_us() - start;
	return !err && pd->refused ? -ENOTSUP : err;
}
