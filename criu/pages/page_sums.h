/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of pages/: a checksum of each page in a pages file (page-sums.img). It is computed while the page is in the
 * processor's cache: when it is written, and when it is read.
 */
#ifndef CRIU_PAGES_PAGE_SUMS_H
#define CRIU_PAGES_PAGE_SUMS_H

#include "image/image.h"

/* ---- writing ---- */

/* The image, created with the first sums; zeroed before. */
struct page_sums_writer {
	struct image_dir *dir;
	struct image *img;
};

/* The sums of n pages, as they stand in the file. */
void page_sums_make(uint32_t *sums, const uint8_t *bytes, size_t n);

/* A longer one, of a page that is not in a pages file: no other page is taken for it. */
uint64_t page_sums_of_page(const uint8_t *page);

/* All sums of one pages file. 0 or a negative errno (logged), as the next. */
int page_sums_write(struct page_sums_writer *w, uint32_t pages_id, const uint32_t *sums, size_t n);

/* Closes the image, if there is one. Returns err, or what failed here. */
int page_sums_end(struct page_sums_writer *w, int err);

/* ---- reading ---- */

struct page_sums;

/*
 * The sums of a checkpoint, read once for each directory; they live until that is closed. NULL: it has none that count
 * (CRIU's; or no integrity file names them). 0 or a negative errno (logged).
 */
int page_sums_read(struct image_dir *dir, const struct page_sums **sumsp);

/*
 * Compares n pages, the first of which is page `first` of a pages file, with their sums. Returns how many are right
 * before the first that is not, or has no sum: n where all are.
 */
size_t page_sums_check(const struct page_sums *sums, uint32_t pages_id, uint64_t first, const uint8_t *bytes, size_t n);

#endif
