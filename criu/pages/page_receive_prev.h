/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of pages/: what a page server has of the dump before, in the directory that its own is on top of. A page that
 * is said to be there and is not would be lost when the tree has ended: so each is looked for before the dump hears
 * that all is well.
 */
#ifndef CRIU_PAGES_PAGE_RECEIVE_PREV_H
#define CRIU_PAGES_PAGE_RECEIVE_PREV_H

#include "image/image_received.h"
#include "pages/pagemap.h"

struct prev_map;

struct receive_prev {
	const struct image_received *images;
	struct arena *arena; /* NULL until something is looked for */
	struct prev_map *maps;
	const struct pagemap *map; /* of the image that is being received; NULL: that has none there */
	size_t next;               /* its first run that may be asked for */
	bool used;                 /* some page is there alone */
	uint64_t mark;             /* of the run that has sent those (tree/run_mark.h), if the peer says so */
};

/*
 * Whether there are images of that type and number, whole, to the oldest of the chain; or whether it is the mark of
 * what is there. Pages of these are the next that are looked for.
 */
bool page_receive_prev_has(struct receive_prev *p, enum image_type type, uint64_t number, uint64_t limit);

/* The peer says that a run is there; runs ascend. 0 or a negative errno (logged), as the next. */
int page_receive_prev_check(struct receive_prev *p, const char *name, const struct page_run *run);

/* Whether that is there still. */
int page_receive_prev_check_all(struct receive_prev *p);

void page_receive_prev_end(struct receive_prev *p);

#endif
