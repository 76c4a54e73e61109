/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What of an address space is still to be filled: runs of the checkpoint's pages, by the addresses that they have now.
 * What is in no piece was filled, was dropped by the program, or never had pages: it is zeros where it is missing.
 */
#ifndef CRIU_LAZY_LAZY_PIECES_H
#define CRIU_LAZY_LAZY_PIECES_H

#include "pages/page_run.h"

struct lazy_pieces {
	struct page_run *v; /* from malloc; ascending, without overlaps */
	size_t n, room;
};

/* A copy of runs. -ENOMEM: nothing is changed, as for the others. */
int lazy_pieces_set(struct lazy_pieces *p, const struct page_run *runs, size_t n);
void lazy_pieces_free(struct lazy_pieces *p);

/* The piece that has an address, or NULL. */
const struct page_run *lazy_pieces_find(const struct lazy_pieces *p, raddr_t at);

/* Nothing from one address to another is to be filled (any more). */
int lazy_pieces_cut(struct lazy_pieces *p, raddr_t from, raddr_t to);

/* Memory was moved (mremap(2)). */
int lazy_pieces_move(struct lazy_pieces *p, raddr_t from, raddr_t to, uint64_t len);

#endif
