/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: a pipe or a socket takes bytes in their order, and several threads have them. */
#ifndef CRIU_PAGES_PAGE_TURNS_H
#define CRIU_PAGES_PAGE_TURNS_H

#include <pthread.h>

#include "pages/page_io.h"

struct page_turns {
	pthread_mutex_t lock;
	pthread_cond_t next;
	uint64_t placed, done; /* bytes */
	int err;               /* the first, which ends all */
};

void page_turns_begin(struct page_turns *t);
void page_turns_end(struct page_turns *t);

/* For place(): the load comes behind those before. */
void page_turns_place(struct page_turns *t, struct page_load *load);

/* For write(): calls fn when those before have been written. Nothing is done for a load without bytes. */
int page_turns_write(struct page_turns *t, const struct page_load *load,
                     int (*fn)(void *arg, const struct page_load *load), void *arg);

#endif
