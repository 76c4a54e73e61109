/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: which pages of a task have to be stored. */
#ifndef CRIU_MM_PAGE_SCAN_H
#define CRIU_MM_PAGE_SCAN_H

#include "pages/pages.h"
#include "tree/dump.h"

/*
 * Of a task with a copy: what that has not, while the task stands; then all else, in the copy. Before all: what may be
 * equal to files, and no more.
 */
enum scan_part { SCAN_ALL, SCAN_STANDING, SCAN_COPY, SCAN_EQUAL };

/* Lists them. 0 or a negative errno (logged), as the next. */
int page_scan_task(struct dump *d, struct task *t, struct pages_dump *pd, enum scan_part part);

/*
 * Finds those that are equal to files (mm/page_equal.h), while the task stands still, or in its copy; not those that
 * the task shares with its parent process, which has them.
 */
int page_scan_equal(struct dump *d, struct task *t);

#endif
