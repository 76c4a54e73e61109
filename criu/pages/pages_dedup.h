/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages that nobody needs any more are punched out of pages files (criu dedup, --auto-dedup): those of older
 * checkpoints that a later one of the chain has in their place; after a restore, those that it has brought back.
 */
#ifndef CRIU_PAGES_PAGES_DEDUP_H
#define CRIU_PAGES_PAGES_DEDUP_H

#include "pages/pagemap.h"
#include "tree/restore.h"

/*
 * Out of the checkpoints before the one at path goes what a later one has, up to that one. parts: the images that are
 * no pages may be elsewhere (a page server's). 0 or a negative errno (logged); nothing is punched that is not noted
 * first (page_punched.h), whatever comes of it.
 */
int pages_dedup(const char *path, bool parts);

/* A restore takes pages of map: with --auto-dedup they go once the tree is restored. */
void pages_dedup_restored(struct restore *r, const struct pagemap *map);

#endif
