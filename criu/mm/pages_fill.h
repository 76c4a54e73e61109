/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: from a pages file into the memory of a process, by several threads where it is much. */
#ifndef CRIU_MM_PAGES_FILL_H
#define CRIU_MM_PAGES_FILL_H

#include "tree/restore.h"
#include "mm/mm_read.h"

struct fill;

/* A new, empty list of what goes into a process from pages-<pages_id>.img. From the arena. */
struct fill *fill_new(struct restore *r, pid_t pid, uint32_t pages_id);

/* Adds a run; its memory has to be writable by then. With run->compare only what differs is written. */
void fill_add(struct fill *f, const struct page_run *run);

/* How many pages are on the list. */
uint64_t fill_pages(const struct fill *f);

/* Does it. 0 or a negative errno (logged). */
int fill_run(struct fill *f);

#endif
