/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: the stages of an address space in order, both directions, as the row of memory (memory.c) calls them.
 */
#ifndef CRIU_MM_MM_H
#define CRIU_MM_MM_H

#include "tree/dump.h"
#include "tree/restore.h"

/* ---- dump (the tree is frozen) ---- */

/* Reads the mappings of a task (/proc/PID/smaps) into t->dump->vmas and t->mm. Refuses by name what cannot be dumped.
 */
int mm_collect(struct dump *d, struct task *t);

/*
 * Reads and writes the pages of all tasks of the tree (pagemap-*, pages-*), shared memory once, by several threads; and
 * what is known of their mappings (mm-*), when their pages have been looked at. *later is set where tasks have copies,
 * which are read when the tree runs: mm_dump_copies(), which frees it.
 */
struct pages_dump;
int mm_dump_pages(struct dump *d, struct pages_dump **later);
int mm_dump_copies(struct dump *d, struct pages_dump *later);

/*
 * Pre-dump: the mappings of a task, as far as the next function needs them (t->dump->vmas); then the pages of all tasks
 * are listed, and pages_dump_end() moves them.
 */
int mm_collect_private(struct dump *d, struct task *t);
int mm_list_pages(struct dump *d, struct pages_dump **pdp);

/* ---- restore ---- */

/*
 * Before anything is started: checks mappings and pagemaps of all tasks (order, overlap, limits, sizes against the
 * pages file).
 */
int mm_check(struct restore *r);

/* Whether child is to start as a copy of its parent, with which it shares pages copy-on-write. */
bool mm_inherits(const struct restore *r, const struct task *child);

/*
 * A hole of `size` bytes that no mapping of t, nor of its descendants that start as its copies, uses; page-aligned and
 * as low as possible (not below 64 KiB). 0: no hole is large enough.
 */
raddr_t mm_find_hole(const struct restore *r, const struct task *t, uint64_t size);

/*
 * Builds the address space in two steps, each through t's agent. mm_restore_map: unmaps everything but
 * [keep, keep + keep_size), puts the vdso in its place, makes all mappings, writable where pages have to be filled,
 * fills and locks them. For a task that started as a copy of its parent only what differs is changed. mm_restore_seal,
 * after the children that are copies have been forked: final protections, advice, names, PR_SET_MM_MAP.
 */
int mm_restore_map(struct restore *r, struct task *t, raddr_t keep, uint64_t keep_size);
int mm_restore_seal(struct restore *r, struct task *t);

#endif
