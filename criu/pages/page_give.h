/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: the end of a connection that has the pages which a lazy-pages daemon asks for. */
#ifndef CRIU_PAGES_PAGE_GIVE_H
#define CRIU_PAGES_PAGE_GIVE_H

#include "pages/page_peer.h"
#include "pages/page_run.h"

/* Where the pages are. */
struct page_giver {
	void *arg;
	/* The run that has the page of a task at an address, good until the next call; NULL: there is none. */
	const struct page_run *(*find)(void *arg, vpid_t vpid, raddr_t at);
	/* Bytes of a part of the run that was found last; a batch at most. 0 or a negative errno (logged). */
	int (*read)(void *arg, const struct page_run *part, uint8_t *buf);
};

/*
 * Answers until the peer says that it needs no more: 0; page_give_answer() is owed then. Any other end is a negative
 * errno (logged). *given counts pages.
 */
int page_give(const struct page_peer *p, const struct page_giver *g, uint64_t *given);

int page_give_answer(const struct page_peer *p, int result);

#endif
