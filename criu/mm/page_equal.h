/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: pages of private mappings of files that were written to, and hold what the file holds nevertheless,
 * are stored with the file alone. Once written to, a page follows its file no more: a restore makes each the task's own
 * again, and takes no other bytes than those that it had (pages/pages_equal.h).
 */
#ifndef CRIU_MM_PAGE_EQUAL_H
#define CRIU_MM_PAGE_EQUAL_H

#include "mm/page_plan.h"
#include "mm/task_mm.h"
#include "tree/dump.h"

/* ---- dump ---- */

/* Whether pages of a mapping are looked at. */
bool page_equal_may_be(const struct vma *v);

/* What such mappings of a task have of their own pages, bytes: what smaps says, at most as much is equal. */
uint64_t page_equal_most(const struct task *t);

/*
 * Compares what was listed (pages_equal_begin()), unless err is set, and keeps what is equal. Frees the transfer. 0 or
 * a negative errno (logged).
 */
struct page_transfer;
int page_equal_find(struct dump *d, struct task *t, struct page_transfer *transfer, int err);

/* What was found: of all tasks, bytes; of one, ascending. */
uint64_t page_equal_bytes(const struct dump *d);

struct equal_runs {
	const struct page_run *runs;
	size_t n;
};
struct equal_runs page_equal_of(const struct dump *d, const struct task *t);

/*
 * The run that has the page at `at`, or NULL; *endp is brought down to where that changes. Addresses ascend: those that
 * lie behind are dropped from the list.
 */
const struct page_run *page_equal_at(struct equal_runs *list, raddr_t at, raddr_t *endp);

/* ---- restore ---- */

/* Whether images may say so of pages in a mapping. */
bool page_equal_is_possible(const VmaEntry *v);

/* Fills those of the plan, when all mappings are there. 0 or a negative errno (logged). */
int page_equal_fill(struct restore *r, const struct task *t, const struct page_plan *plan);

#endif
