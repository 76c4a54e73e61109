/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/pagemap.h"

#include <inttypes.h>
#include <zlib.h>

#include "format.h"
#include "lib/log.h"
#include "pages/page_punched.h"
#include "pages/page_regions.h"

/* ---- what was sent ---- */

void pages_sum_add(struct pages_sum *s, uint64_t at, uint64_t n)
{
	if (s->n && s->at + s->n * PAGE_SIZE == at) {
		s->n += n;
	} else {
		s->crc = pages_sum_crc(s);
		s->at = at;
		s->n = n;
	}
	s->pages += n;
}

uint32_t pages_sum_crc(const struct pages_sum *s)
{
	const uint64_t run[] = { s->at, s->n };

	return s->n ? (uint32_t)crc32_z(s->crc, (const unsigned char *)run, sizeof(run)) : s->crc;
}

/* ---- reading: foreign input ---- */

static uint64_t entry_pages(const PagemapEntry *e)
{
	return e->has_nr_pages ? e->nr_pages : e->compat_nr_pages;
}

static uint32_t entry_flags(const PagemapEntry *e)
{
	return e->has_flags ? e->flags : e->has_in_parent && e->in_parent ? PE_PARENT : PE_PRESENT;
}

/* Of each page of the entry there is a checksum. */
static bool has_all_sums(const PagemapEntry *e)
{
	return e->file_sums.len % FILE_SUM_BYTES == 0 && e->file_sums.len / FILE_SUM_BYTES == entry_pages(e);
}

/* Where the pages of an entry are: run->with_parent, in_file, in_prev, later, or else the pages file. */
static int find_place(const struct image *img, const PagemapEntry *e, struct page_run *run)
{
	uint32_t flags = entry_flags(e);

	bool other = e->with_parent || e->has_file_sums;

	run->with_parent = e->with_parent;
	run->in_file = e->has_file_sums;
	run->file_sums = e->file_sums.data;
	if (other && (flags || (e->with_parent && e->has_file_sums)))
		return log_errno(-EBADMSG, "%s: the pages at %" PRIx64 " are said to be in two places", image_name(img),
		                 e->vaddr);
	if (run->in_file && !has_all_sums(e))
		return log_errno(-EBADMSG,
		                 "%s: the pages at %" PRIx64 " are said to be those of a file, and have %zu bytes of "
		                 "checksums",
		                 image_name(img), e->vaddr, e->file_sums.len);
	run->in_prev = !other && flags & PE_PARENT;
	run->later = !other && !(flags & (PE_PARENT | PE_PRESENT));
	if (run->later && !(flags & PE_LAZY))
		return log_errno(-EBADMSG, "%s: the pages at %" PRIx64 " are said to be nowhere", image_name(img),
		                 e->vaddr);
	return 0;
}

/* In the pages file. */
static bool is_here(const struct page_run *run)
{
	return !run->with_parent && !run->in_file && !run->in_prev && !run->later;
}

static int take_entry(struct arena *a, const struct image *img, struct pagemap *map, const PagemapEntry *e,
                      uint64_t limit)
{
	uint64_t n = entry_pages(e), from = map->n_runs ? page_run_end(&map->runs[map->n_runs - 1]) : 0;
	struct page_run run = {
		.at = e->vaddr, .n = n, .stored = map->n_pages * PAGE_SIZE, .thp = e->thp, .cow = e->cow
	};
	int err;

	if (e->vaddr % PAGE_SIZE || e->vaddr < from || e->vaddr > limit || n > (limit - e->vaddr) / PAGE_SIZE)
		return log_errno(-EBADMSG, "%s: the entry of %" PRIu64 " pages at %" PRIx64 " is out of order or place",
		                 image_name(img), n, e->vaddr);
	err = find_place(img, e, &run);
	if (err)
		return err;
	map->knows_cow |= e->has_cow;
	map->with_parent |= run.with_parent;
	map->in_file |= run.in_file;
	map->in_prev |= run.in_prev;
	map->later |= run.later;
	map->n_pages += is_here(&run) ? n : 0;
	run.stored = run.later ? run.at : run.stored;
	if (n)
		arena_push(a, &map->runs, &map->n_runs, run);
	return 0;
}

/* The parts of a run that are still there, and those that are not. *k: the first range that may reach into it. */
static void cut_run(struct arena *a, struct pagemap *map, const struct page_run *run, const struct ranges *gone,
                    size_t *k)
{
	uint64_t end = run->stored + run->n * PAGE_SIZE;

	for (uint64_t at = run->stored, to; at < end; at = to) {
		const struct range *r;
		struct page_run part;

		while (*k < gone->n && gone->r[*k].end <= at)
			(*k)++;
		r = *k < gone->n ? &gone->r[*k] : NULL;
		to = r ? MIN(end, r->start > at ? r->start : r->end) : end;
		part = page_run_part(run, run->at + (at - run->stored), run->at + (to - run->stored));
		part.gone = r && r->start <= at;
		map->gone |= part.gone;
		arena_push(a, &map->runs, &map->n_runs, part);
	}
}

/* Runs of the pages file become shorter where some of their pages were punched out of that. */
static int find_gone(struct arena *a, struct pagemap *map)
{
	struct page_run *runs = map->runs;
	const struct page_punched *punched;
	const struct ranges *gone;
	size_t n = map->n_runs, k = 0;
	int err = page_punched_read(map->dir, &punched);

	gone = err ? NULL : page_punched_of(punched, map->pages_id);
	if (!gone)
		return err;
	map->runs = NULL;
	map->n_runs = 0;
	for (size_t i = 0; i < n; i++) {
		if (is_here(&runs[i]))
			cut_run(a, map, &runs[i], gone, &k);
		else
			arena_push(a, &map->runs, &map->n_runs, runs[i]);
	}
	return 0;
}

int pagemap_read(struct image_dir *dir, struct arena *a, enum image_type type, uint64_t id, uint64_t limit,
                 struct pagemap **mapp)
{
	struct pagemap *map = arena_new_of(a, struct pagemap);
	_cleanup_image_ struct image *img = NULL;
	struct pages_sum sum = { 0 };
	struct page_regions *regions;
	PagemapHead *head;
	PagemapEntry *e;
	int err = image_open(dir, type, id, &img);

	if (!err)
		err = image_read(img, &pagemap_head__descriptor, a, &head);
	if (err < 0)
		return err;
	if (!err)
		return log_errno(-EBADMSG, "%s has no head", image_name(img));
	map->name = arena_strdup(a, image_name(img));
	map->owner = arena_printf(a, type == IMG_PAGEMAP ? "pid %" PRIu64 : "shared memory %" PRIu64, id);
	map->users = 1;
	map->dir = dir;
	map->pages_id = head->pages_id;
	err = page_sums_read(dir, &map->sums) ?: page_regions_read(a, map->name, head, &regions);
	if (err)
		return err;
	map->regions = regions;
	while ((err = image_read(img, &pagemap_entry__descriptor, a, &e)) > 0) {
		err = take_entry(a, img, map, e, limit);
		if (err)
			return err;
		pages_sum_add(&sum, e->vaddr, entry_pages(e));
	}
	*mapp = map;
	return err ?: find_gone(a, map) ?: image_dir_check_sent(dir, map->name, sum.pages, pages_sum_crc(&sum));
}

/* ---- writing ---- */

int pagemap_create(struct pagemap_writer *w, struct image_dir *dir, enum image_type type, uint64_t id,
                   const PagemapHead *head, bool knows_cow)
{
	int err;

	*w = (struct pagemap_writer) { .entry = PAGEMAP_ENTRY__INIT, .knows_cow = knows_cow };
	err = image_create(dir, type, id, &w->img);
	return err ?: image_write(w->img, head);
}

static int flush_entry(struct pagemap_writer *w)
{
	int err = 0;

	if (w->entry.nr_pages) {
		w->entry.compat_nr_pages = (uint32_t)w->entry.nr_pages;
		err = image_write(w->img, &w->entry);
	}
	w->entry.nr_pages = 0;
	return err;
}

int pagemap_add(struct pagemap_writer *w, const struct page_run *run)
{
	uint32_t flags = run->later                         ? PE_LAZY
	                 : run->with_parent || run->in_file ? 0
	                 : run->in_prev                     ? PE_PARENT
	                                                    : PE_PRESENT;

	return pagemap_add_flagged(w, run, flags);
}

int pagemap_add_flagged(struct pagemap_writer *w, const struct page_run *run, uint32_t flags)
{
	PagemapEntry *e = &w->entry;
	int err;

	if (e->nr_pages && e->vaddr + e->nr_pages * PAGE_SIZE == run->at && e->thp == run->thp && e->cow == run->cow &&
	    e->with_parent == run->with_parent && e->flags == flags && !e->has_file_sums && !run->in_file) {
		e->nr_pages += run->n;
		return 0;
	}
	err = flush_entry(w);
	e->vaddr = run->at;
	e->has_nr_pages = e->has_flags = true;
	e->nr_pages = run->n;
	e->flags = flags;
	e->has_with_parent = e->with_parent = run->with_parent;
	e->has_file_sums = run->in_file;
	e->file_sums.data = (uint8_t *)(uintptr_t)run->file_sums;
	e->file_sums.len = run->in_file ? run->n * FILE_SUM_BYTES : 0;
	e->has_thp = e->thp = run->thp;
	e->has_cow = w->knows_cow;
	e->cow = run->cow;
	return err;
}

int pagemap_close(struct pagemap_writer *w, int err)
{
	int closed;

	if (!err)
		err = flush_entry(w);
	closed = image_close(move_ptr(w->img));
	return err ?: closed;
}
