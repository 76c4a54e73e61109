/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: pages that forked tasks still share are stored once, with those of the process that was forked. */
#ifndef CRIU_MM_PAGE_ONCE_H
#define CRIU_MM_PAGE_ONCE_H

#include "mm/task_mm.h"
#include "tree/dump.h"

/* ---- dump ---- */

/*
 * The task from whose memory that of t may have been copied (the first with that memory), or NULL.
 */
struct task *page_once_source(struct dump *d, const struct task *t);

/*
 * Whether pages that are elsewhere already are stored once in this dump: --cow-pages, and what there is of them: of
 * those that forks share by what smaps says, of those that files have (mm/page_equal.h) by what was found.
 */
bool page_once_is_wanted(struct dump *d);

/* Whether they may be, before the latter have been looked for, which takes time: only where it can matter. */
bool page_once_wants_equal(struct dump *d);

/*
 * Whether pages of v from `at` on would be stored for the parent process too if both shared them: its mapping there is
 * of the same sort. *endp is brought down to where the answer may change. *pv: the parent's mapping that was last
 * looked at, of those up to end; addresses ascend.
 */
bool page_once_may_be(const struct vma *v, const struct vma **pv, const struct vma *end, raddr_t at, raddr_t *endp);

/* ---- restore ---- */

/*
 * All pagemaps have been read: runs that are with the parent process get their place in its pages file. What the parent
 * process has no page of is zeros. 0 or a negative errno (logged).
 */
int page_once_resolve(struct restore *r);

#endif
