/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The mark of a run: which dump it was that a page server has the pages of, said in the page server's own protocol, so
 * that CRIU's keeps it as well as ours. It is the pagemap of an object that no task has: its number is the run's id;
 * its one entry, of a page that is nowhere, has the mark of the run before as an address.
 */
#ifndef CRIU_TREE_RUN_MARK_H
#define CRIU_TREE_RUN_MARK_H

#include "image/image.h"

/* Of an id as inventory_new_run() makes it; 0: there is none, or somebody else has made it. */
uint64_t run_mark(const char *run_id);

/* Whether the number of an object is a mark: real ones have 32 bits. */
bool run_mark_is(uint64_t number);

/* Where the entry is that names the run before, and which run such an entry names. */
uint64_t run_mark_address(uint64_t prev);
uint64_t run_mark_at(uint64_t address);

/*
 * The run whose images a directory has, as its inventory and marks say; 0: nothing says that. -ESTALE (logged): they
 * are of more than one.
 */
int run_mark_read(struct image_dir *dir, struct arena *a, uint64_t *markp);

/* The run that these images were made on top of, as they say; 0: they do not. 0 or a negative errno (logged). */
int run_mark_read_prev(struct image_dir *dir, struct arena *a, uint64_t *prevp);

#endif
