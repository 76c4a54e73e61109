/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: pages-<n>.img, as a sink at dump and as a source at restore. Nothing else knows such files. */
#ifndef CRIU_PAGES_PAGES_FILE_H
#define CRIU_PAGES_PAGES_FILE_H

#include "pages/page_codec.h"
#include "pages/page_io.h"
#include "pages/pagemap.h"

/* What all pages files of a dump have in common. */
struct pages_store {
	struct image_dir *dir;
	struct page_sums_writer sums;
	struct page_codec *codec; /* NULL: they are not compressed */
};

/*
 * Writes pages-<pages_id>.img, and the pagemap image of that type and number when all is written. NULL without memory,
 * not logged.
 */
struct page_sink *pages_file_sink(struct pages_store *store, enum image_type type, uint64_t id, uint32_t pages_id);

/* Reads what a pagemap tells of. NULL without memory, not logged. */
struct page_source *pages_file_source(const struct pagemap *map);

/*
 * Whether the file has as many pages as the pagemap tells of, and the library that it needs is there. 0 or a negative
 * errno (logged).
 */
int pages_file_check(struct image_dir *dir, const struct pagemap *map);

#endif
