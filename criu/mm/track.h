/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: which pages a task has written to since the dump before this one, so that only those are stored. The
 * kernel notes it (userfaultfd, asynchronous write protection; PAGEMAP_SCAN), a tracker (mm/tracker.h) keeps that alive
 * between dumps.
 *
 * A dump of a chain reads what was noted as soon as the tree stands still, and ends the tracker. Whatever becomes of
 * this dump, nothing can be taken for unwritten any more that is not. If the tree lives on, and --track-mem says so,
 * writes are noted from this dump on, for a new tracker.
 *
 * The userfaultfds are taken from the tracker before it ends, so that the marks stay as long as the tree stands still:
 * to take them away changes each entry of the page table (on some virtual machines half a second for a GiB), and to set
 * them again does so once more. So only what was written to is marked anew, and memory of a tree that ends with the
 * dump is left as it is. What else looks at memory is not to see them: track_hide().
 */
#ifndef CRIU_MM_TRACK_H
#define CRIU_MM_TRACK_H

#include "lib/ranges.h"
#include "tree/dump.h"

/* Whether this dump belongs to a chain: pages are then stored with each task (mm/page_once.h). */
bool track_is_in_chain(const struct dump *d);

/*
 * The pages of t, ascending, that have not been written to since the dump before this one, and that its checkpoint has;
 * NULL: of none it is known.
 */
const struct ranges *track_unwritten(struct dump *d, const struct task *t);

/*
 * t's mappings were read, by a dump that belongs to no chain: where one is watched, a tracker that watches the tree is
 * ended, as what was noted for another dump. 1: t's mappings are to be read again; 0; a negative errno (logged).
 */
int track_give_up(struct dump *d, const struct task *t);

/* Of t's mappings, which were read: those that are watched for criu's sake look as if they were not. */
void track_hide(struct dump *d, struct task *t);

/* While the agent is inside: gets a userfaultfd of the task's, where writes are to be noted from this dump on. */
int track_inside(struct dump *d, struct task *t);

/* The pages of t have been listed, and none was read yet: from here on the kernel notes what is written to. */
int track_arm(struct dump *d, const struct task *t);

/* After the commit: the tracker lives on. A failure is a warning, as the next dump stores all pages then. */
void track_committed(struct dump *d);

#endif
