/* SPDX-License-Identifier: GPL-2.0-only */
/* The stages of a dump, in the order in which cmd/dump.c goes through them. All log their errors. */
#ifndef CRIU_DUMP_DUMP_H
#define CRIU_DUMP_DUMP_H

#include "options/stages.h"
#include "tree/dump.h"

/* Stops the tree and reads what a tracer sees of every thread. */
int dump_freeze(struct dump *d);

/*
 * Where the root task has a network namespace of its own, others hold its packets off: network-lock. dump_commit() and
 * dump_rollback() run network-unlock before such a tree runs on.
 */
int dump_lock_network(struct dump *d, struct stages *stages);

/* Reads everything but what takes long. Refusals are counted, and end it after all of them have been found. */
int dump_collect(struct dump *d);

/* Writes all images, and the integrity file that makes them a checkpoint. */
int dump_write(struct dump *d);

/* The last scripts, then the commit; the tree is killed or let go. An error before the commit is to be rolled back. */
int dump_commit(struct dump *d, struct stages *stages);

/* The tree runs on as if nothing had been done, and the images go. */
int dump_rollback(struct dump *d, struct stages *stages);

/*
 * A pre-dump, when the tree stands still: stores memory, lets the tree run on, and makes the images count. Where it
 * fails the tree runs on too, and the images are gone.
 */
int dump_ahead(struct dump *d);

/* Closes what was open of each task. */
void dump_close_tasks(struct dump *d);

#endif
