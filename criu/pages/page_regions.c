/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/page_regions.h"

#include "lib/log.h"
#include "pages/page_io.h"

int page_regions_read(struct arena *a, const char *name, const PagemapHead *head, struct page_regions **regionsp)
{
	size_t n = head->n_region_pages;
	struct page_regions *r;

	*regionsp = NULL;
	if (!head->has_compression && !n && !head->n_region_bytes)
		return 0;
	if (!head->has_compression || n != head->n_region_bytes)
		return log_errno(-EBADMSG, "%s: its head tells of %zu and of %zu compressed regions", name, n,
		                 head->n_region_bytes);
	r = arena_alloc(a, sizeof(*r) + (n + 1) * sizeof(r->v[0]));
	r->compression = head->compression;
	r->n = n;
	for (size_t i = 0; i < n; i++) {
		uint32_t pages = head->region_pages[i], bytes = head->region_bytes[i];

		if (!pages || pages > BATCH_PAGES || !bytes || bytes > pages * PAGE_SIZE)
			return log_errno(-EBADMSG, "%s: its head tells of a compressed region of %u pages in %u bytes",
			                 name, pages, bytes);
		r->v[i + 1].stored = r->v[i].stored + pages * PAGE_SIZE;
		r->v[i + 1].at = r->v[i].at + bytes;
	}
	*regionsp = r;
	return 0;
}

const struct page_region *page_regions_find(const struct page_regions *r, uint64_t stored)
{
	size_t low = 0, high = r->n;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (r->v[middle].stored <= stored)
			low = middle;
		else
			high = middle;
	}
	return &r->v[low];
}

/* ---- writing ---- */

int page_regions_sizes_begin(struct region_sizes *s, size_t most)
{
	s->pages = calloc(most + 1, sizeof(*s->pages));
	s->bytes = calloc(most + 1, sizeof(*s->bytes));
	return s->pages && s->bytes ? 0 : log_errno(-ENOMEM, "out of memory for a list of %zu regions", most);
}

void page_regions_sizes_free(struct region_sizes *s)
{
	free(s->pages);
	free(s->bytes);
}

uint64_t page_regions_sizes_add(struct region_sizes *s, uint32_t pages, uint32_t bytes)
{
	uint64_t at = s->total;

	s->pages[s->n] = pages;
	s->bytes[s->n++] = bytes;
	s->total += bytes;
	return at;
}

void page_regions_sizes_put(const struct region_sizes *s, PagesCompression compression, PagemapHead *head)
{
	head->has_compression = true;
	head->compression = compression;
	head->n_region_pages = head->n_region_bytes = s->n;
	head->region_pages = s->pages;
	head->region_bytes = s->bytes;
}
