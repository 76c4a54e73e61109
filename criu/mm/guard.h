/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: guard pages (MADV_GUARD_INSTALL of madvise(2), Linux 6.13): marks in the page table of a mapping. A
 * touch of one gives SIGSEGV. In mm-<vpid>.img they are entries behind those of all mappings, with VMA_GUARD alone.
 */
#ifndef CRIU_MM_GUARD_H
#define CRIU_MM_GUARD_H

#include "mm/task_mm.h"

struct batch;

/* ---- dump ---- */

/* Adds guard pages to what mm-<vpid>.img says of a task; in ascending order. */
void guard_note(struct dump *d, const struct task *t, raddr_t start, raddr_t end);

/* They were not added in ascending order. */
void guard_sort(struct task *t);

/* Whether a mapping of which no page is stored has to be looked through for guard pages. */
bool guard_may_be_in(struct dump *d, const struct vma *v);

/* Whether an entry of /proc/PID/pagemap is of a guard page, as far as entries tell. */
bool guard_is_shown(uint64_t entry);

/*
 * Whether reading the page fails, through /proc/PID/mem: all that is left where the kernel shows neither guard pages
 * (before 6.15) nor frames (without CAP_SYS_ADMIN). Only of a page that is there, or in swap. Negative errno (logged).
 */
int guard_by_reading(const struct task *t, raddr_t at);

/* ---- restore ---- */

/* Takes the guard pages out of the list of mappings into m->guards. 0 or a negative errno (logged), as all. */
int guard_take(struct restore *r, const struct task *t, struct task_mm *m);

/* When the mappings have been checked: whether guard pages lie in them, and this kernel can make them. */
int guard_check(struct restore *r, const struct task *t, const struct task_mm *m);

/* Of a copy, before pages are written: adds the calls that take away what its parent has, and the task has not. */
void guard_remove_inherited(struct restore *r, struct batch *b, const struct task *t, const struct task_mm *m);

/*
 * Before that: the kernel remembers which mappings had guard pages. (Where it does not know that, or none, nothing is
 * lost.)
 */
int guard_mark(struct restore *r, struct task *t, const struct task_mm *m);

/* When pages have been written, before mappings are locked. */
int guard_install(struct restore *r, struct task *t, const struct task_mm *m);

/* Adds the calls that lock a mapping (mlock2(2) with flags), around its guard pages, which cannot be made present. */
void guard_lock_around(struct arena *a, struct batch *b, const struct task_mm *m, const VmaEntry *v, unsigned flags);

#endif
