/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory: mappings and pages of a task, both directions, as the commands call them in order. */
#ifndef CRIU_MM_MM_H
#define CRIU_MM_MM_H

#include "tree/dump.h"
#include "tree/restore.h"

/* ---- dump (the tree is frozen) ---- */

/*
 * Reads the mappings of a task (/proc/PID/smaps or maps) into t->dump->vmas. Refuses by name what cannot be dumped.
 */
int mm_collect(struct dump *d, struct task *t);

/* Fills t->mm: vmas with their file ids and flags, code, data, stack, brk, argument limits, auxv, exe, and writes
 * mm-<vpid>.img. */
int mm_dump(struct dump *d, struct task *t);

/* Reads and writes the pages of all tasks of the tree (pagemap-*, pages-*), shared memory once, by several threads. */
int mm_dump_pages(struct dump *d);

/* ---- restore ---- */

/* Checks the mappings and pagemaps of all tasks: order, overlap, limits, sizes against the pages file; before anything
 * is started. */
int mm_check(struct restore *r);

/* Whether child is to start as a copy of its parent: it shares pages with it copy-on-write. */
bool mm_inherits(const struct restore *r, const struct task *child);

/*
 * A hole of `size` bytes that no mapping of t, nor of its descendants that start as its copies, uses; page-aligned and
 * as low as possible (not below 64 KiB); 0 when there is none.
 */
raddr_t mm_find_hole(const struct restore *r, const struct task *t, uint64_t size);

/*
 * Builds the address space, in three steps, each through t's agent:
 * mm_restore_map: unmaps everything but [keep, keep + keep_size), puts the vdso in its place, makes all mappings,
 * writable where pages have to be filled (by it or by children that start as its copies), and fills them. For a task
 * that started as a copy of its parent only what differs is changed. mm_restore_seal: after the children that are
 * copies have been forked: final protections, advice, locks, PR_SET_MM_MAP.
 */
int mm_restore_map(struct restore *r, struct task *t, raddr_t keep, uint64_t keep_size);
int mm_restore_seal(struct restore *r, struct task *t);

#endif
