/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of pages/: pages that were given back, by holes in pages files. A hole reads as zeros, so punched.img says
 * first which pages are no more; nobody restores these.
 */
#ifndef CRIU_PAGES_PAGE_PUNCHED_H
#define CRIU_PAGES_PAGE_PUNCHED_H

#include "image/image.h"
#include "lib/ranges.h"

struct page_punched;

/*
 * What was punched out of the pages files of a checkpoint, read once for each directory, and alive until that is
 * closed. NULL: nothing. 0 or a negative errno (logged).
 */
int page_punched_read(struct image_dir *dir, const struct page_punched **pp);

/* Of one pages file: offsets, as `stored` of a run. NULL: nothing. */
const struct ranges *page_punched_of(const struct page_punched *p, uint32_t pages_id);

/* What is to be punched out of one pages file. */
struct page_punch {
	uint32_t pages_id;
	struct ranges where; /* offsets, ascending */
	bool packed;         /* it is compressed: where is all of it */
};

/*
 * Notes that in punched.img, and then punches. *freed: bytes that the file system has back. -EOPNOTSUPP: it cannot do
 * that; -EBUSY: somebody reads the checkpoint. 0 or a negative errno (logged): the pages may be gone, or still there.
 */
int page_punched_add(struct image_dir *dir, const struct page_punch *list, size_t n, uint64_t *freed);

#endif
