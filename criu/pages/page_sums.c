/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * XXH3: of the checksums that libraries have, the one that costs the least (15 to 30 GB/s of one processor, from its
 * cache); 32 of its bits, so that they are a thousandth of the pages. Compiled in: there is nothing to load.
 */
#include "pages/page_sums.h"

#include <endian.h>
#include <inttypes.h>

#include "arch/arch_sum.h"
#include "arch_page.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "page-sums.pb-c.h"

#define PART_PAGES (UINT64_C(1) << 20) /* of one entry, 4 MiB */

static uint32_t page_sum(const uint8_t *page)
{
	return (uint32_t)arch_sum(page, PAGE_SIZE);
}

uint64_t page_sums_of_page(const uint8_t *page)
{
	return arch_sum(page, PAGE_SIZE);
}

/* ---- writing ---- */

void page_sums_make(uint32_t *sums, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sums[i] = htole32(page_sum(bytes + i * PAGE_SIZE));
}

int page_sums_write(struct page_sums_writer *w, uint32_t pages_id, const uint32_t *sums, size_t n)
{
	PageSumsEntry e = PAGE_SUMS_ENTRY__INIT;
	int err = w->img || !n ? 0 : image_create(w->dir, IMG_PAGE_SUMS, 0, &w->img);

	e.pages_id = pages_id;
	for (size_t at = 0; !err && at < n; at += PART_PAGES) {
		e.first = at;
		e.sums.data = (uint8_t *)(sums + at);
		e.sums.len = MIN(n - at, PART_PAGES) * sizeof(*sums);
		err = image_write(w->img, &e);
	}
	return err;
}

int page_sums_end(struct page_sums_writer *w, int err)
{
	int closed = image_close(move_ptr(w->img));

	return err ?: closed;
}

/* ---- reading ---- */

struct part_key {
	uint64_t pages_id, part;
};

struct sums_part {
	struct part_key key;
	const uint8_t *sums;
	size_t n;
	UT_hash_handle hh;
};

struct page_sums {
	struct sums_part *parts;
};

static struct sums_part *find_part(const struct page_sums *sums, uint32_t pages_id, uint64_t page)
{
	const struct part_key key = { pages_id, page / PART_PAGES };
	struct sums_part *p;

	HASH_FIND(hh, sums->parts, &key, sizeof(key), p);
	return p;
}

static int add_part(struct page_sums *sums, struct arena *a, const PageSumsEntry *e)
{
	struct sums_part *p = arena_new_of(a, struct sums_part);

	p->key = (struct part_key) { e->pages_id, e->first / PART_PAGES };
	p->sums = e->sums.data;
	p->n = e->sums.len / sizeof(uint32_t);
	if (e->first % PART_PAGES || p->n > PART_PAGES || find_part(sums, e->pages_id, e->first))
		return log_errno(-EBADMSG,
		                 "page-sums.img: the entry for page %" PRIu64 " of pages-%u.img is out of place",
		                 e->first, e->pages_id);
	HASH_ADD_IN(a, hh, sums->parts, key, sizeof(p->key), p);
	return 0;
}

static int read_parts(struct image *img, struct arena *a, struct page_sums *sums)
{
	PageSumsEntry *e;
	int err;

	while ((err = image_read(img, &page_sums_entry__descriptor, a, &e)) > 0) {
		err = add_part(sums, a, e);
		if (err)
			return err;
	}
	return err;
}

int page_sums_read(struct image_dir *dir, const struct page_sums **sumsp)
{
	struct arena *a = image_dir_arena(dir);
	struct page_sums **kept = (struct page_sums **)image_dir_page_sums(dir);
	_cleanup_image_ struct image *img = NULL;
	char name[IMAGE_NAME_MAX];
	int err;

	if (!a)
		return log_errno(-ENOMEM, "out of memory for page-sums.img");
	image_make_name(IMG_PAGE_SUMS, 0, name);
	if (!*kept) {
		*kept = arena_new_of(a, struct page_sums);
		err = image_dir_vouches_for(dir, name) ? image_open(dir, IMG_PAGE_SUMS, 0, &img) : -ENOENT;
		err = err == -ENOENT ? 0 : err ?: read_parts(img, a, *kept);
		if (err) {
			*kept = NULL;
			return err;
		}
	}
	*sumsp = (*kept)->parts ? *kept : NULL;
	return 0;
}

size_t page_sums_check(const struct page_sums *sums, uint32_t pages_id, uint64_t first, const uint8_t *bytes, size_t n)
{
	const struct sums_part *p = NULL;

	for (size_t i = 0; i < n; i++) {
		uint64_t page = first + i, at = page % PART_PAGES;
		uint32_t sum = htole32(page_sum(bytes + i * PAGE_SIZE));

		if (!p || !at)
			p = find_part(sums, pages_id, page);
		if (!p || at >= p->n || memcmp(&sum, p->sums + at * sizeof(sum), sizeof(sum)) != 0)
			return i;
	}
	return n;
}
