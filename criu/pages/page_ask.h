/* SPDX-License-Identifier: GPL-2.0-only */
/* The lazy-pages daemon's end of a connection: pages that a dump, or a page server with images, has (--page-server). */
#ifndef CRIU_PAGES_PAGE_ASK_H
#define CRIU_PAGES_PAGE_ASK_H

#include "pages/page_peer.h"
#include "pages/page_run.h"

struct image_dir;

struct page_asker {
	struct page_peer peer;
	bool all; /* the other end has all pages of the checkpoint, not those alone that are missing here */
	int err;  /* the connection is of no use any more: nobody is asked again */
	uint64_t n;
};

/* All return 0 or a negative errno (logged). */

/* Connects, and finds out what the other end is by what the images lack. */
int page_asker_open(const struct options *o, struct image_dir *dir, struct page_asker *a);
void page_asker_close(struct page_asker *a);

/* n pages that a task had at an address; 1 MiB at most. */
int page_ask(struct page_asker *a, vpid_t vpid, raddr_t at, uint64_t n, uint8_t *buf);

/* The other end need not be kept: waits until it has agreed. */
int page_asker_finish(struct page_asker *a);

/* Nobody is asked any more, and the other end sees that. */
void page_asker_give_up(struct page_asker *a, int err);

#endif
