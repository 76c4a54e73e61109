/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of pages/: which bytes of a compressed pages file are which pages. It is cut into regions of a batch each,
 * which are compressed for themselves; the head of the pagemap has their sizes.
 */
#ifndef CRIU_PAGES_PAGE_REGIONS_H
#define CRIU_PAGES_PAGE_REGIONS_H

#include "pages/pagemap.h"

/* Where a region begins: among the pages, and in the file. It ends where the next one begins. */
struct page_region {
	uint64_t stored, at;
};

/* The regions of a file that is compressed, and one more, at its end; n does not count that. */
struct page_regions {
	PagesCompression compression;
	size_t n;
	struct page_region v[];
};

/*
 * Checks what a head says. *regionsp: NULL where the file is not compressed. 0 or a negative errno (logged); name: of
 * the pagemap.
 */
int page_regions_read(struct arena *a, const char *name, const PagemapHead *head, struct page_regions **regionsp);

/* The region that has the page at `stored`, which lies below the end. */
const struct page_region *page_regions_find(const struct page_regions *r, uint64_t stored);

/* ---- writing ---- */

/* The sizes, in the order of the regions. */
struct region_sizes {
	uint32_t *pages, *bytes; /* NULL: the file is not compressed */
	size_t n;
	uint64_t total; /* bytes */
};

/* Room for as many regions. 0 or -ENOMEM (logged). */
int page_regions_sizes_begin(struct region_sizes *s, size_t most);
void page_regions_sizes_free(struct region_sizes *s);

/* Adds a region; returns where in the file it begins. */
uint64_t page_regions_sizes_add(struct region_sizes *s, uint32_t pages, uint32_t bytes);

/* Puts them into a head, which refers to them. */
void page_regions_sizes_put(const struct region_sizes *s, PagesCompression compression, PagemapHead *head);

#endif
