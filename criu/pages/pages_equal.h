/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages of a task's own that are equal to those of the file that the task has mapped there: a dump finds them, and a
 * restore makes them again of what the mapping shows, which has to be the same.
 */
#ifndef CRIU_PAGES_PAGES_EQUAL_H
#define CRIU_PAGES_PAGES_EQUAL_H

#include "lib/arena.h"
#include "pages/page_run.h"
#include "tree/dump.h"
#include "tree/restore.h"

/* ---- dump (the tree is frozen) ---- */

struct page_transfer;

/* A part of a mapping, or all of it, and where in its file that is. */
struct file_part {
	raddr_t start, end;
	uint64_t offset;
	int fd;
};

/* For pages_add(): what is to be compared. pages_equal_find() frees it. 0 or a negative errno (logged), as the next. */
int pages_equal_begin(const struct task *t, struct page_transfer **tp);

/* The runs (in_file) of those that are equal, ascending. parts: ascending; what lies in none is not compared. */
int pages_equal_find(struct page_transfer *t, const struct file_part *parts, size_t n_parts, struct arena *a,
                     struct page_run **runs, size_t *n);
void pages_equal_drop(struct page_transfer *t);

/* ---- restore ---- */

/*
 * Makes the pages of runs (in_file, ascending) the task's own: mappings of their files are there, writable, and no such
 * page has been written to. -ESTALE (not logged): that at *bad is not what it was. Another negative errno is logged.
 */
int pages_equal_fill(struct restore *r, pid_t pid, const struct page_run *runs, size_t n, raddr_t *bad);

#endif
