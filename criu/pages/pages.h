/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Bytes of pages, both directions: from frozen tasks and shared objects into pages files, and back into memory. Which
 * pages those are is decided above (mm/); where a checkpoint has them is known nowhere else than here.
 */
#ifndef CRIU_PAGES_PAGES_H
#define CRIU_PAGES_PAGES_H

#include "pages/page_run.h"
#include "pages/pagemap.h"
#include "tree/dump.h"
#include "tree/restore.h"

/* ---- dump (the tree is frozen) ---- */

/* The pages of one dump, on their way into pages files, some tasks and objects at a time. */
struct pages_dump;

/* Runs of one task, listed first and moved later. */
struct page_transfer;

/* 0 or a negative errno (logged), as all that return int here. */
int pages_dump_start(struct dump *d, struct pages_dump **pdp);

/*
 * The memory of a task goes into pagemap-<vpid>.img and a pages file: what of it, is said by pages_add() before the
 * next call for the same dump.
 */
int pages_dump_task(struct pages_dump *pd, const struct task *t, struct page_transfer **tp);

/*
 * From here on tasks are listed twice, and moved by pages_dump_end() alone: first what their copies have not (runs that
 * are marked `now`), which pages_read_now() reads; then all, with pages_add_saved() for the former. The second
 * pages_dump_task() for a task gives the same transfer, empty. pages_read_now() also moves objects.
 */
void pages_hold(struct pages_dump *pd);
int pages_read_now(struct pages_dump *pd);

/* Adds what was read or listed so, between two addresses. */
int pages_add_saved(struct page_transfer *t, raddr_t start, raddr_t end);

/* Adds a run, behind all those that were added. */
int pages_add(struct page_transfer *t, const struct page_run *run);

/*
 * Lists a run whose pages are the parent process's, a file's, or the checkpoint's before this one, and stored there
 * alone, or stay with the task (later). Behind all those that were added so.
 */
int pages_add_elsewhere(struct page_transfer *t, const struct page_run *run);

/* Whether some were listed as the parent process's, or a file's, which CRIU does not know of. */
bool pages_are_only_ours(const struct page_transfer *t);

/* The runs of this task say whether they are shared with its parent. */
void pages_set_knows_cow(struct page_transfer *t);

/*
 * The data of a shared object (anonymous memory, a memfd, a segment) goes into pagemap-shmem-<id>.img and a pages file.
 * path: opens it, in /proc; ino: its inode number. t: a task that has it, for messages.
 */
int pages_dump_object(struct pages_dump *pd, const struct task *t, const char *path, uint64_t ino, uint32_t id);

/*
 * The tasks run while their pages are read: what cannot be read is not there any more, and left out as if it were
 * zeros, whatever run->drop_zero says of it.
 */
void pages_of_running(struct pages_dump *pd);

/* Of the objects that follow, pages of zeros are stored too: to somebody they are not what a hole is (userfaultfd). */
void pages_keep_zeros(struct pages_dump *pd);

/* Moves what is left, unless err is set, and frees pd. Returns the first error. */
int pages_dump_end(struct pages_dump *pd, int err);

/* ---- restore ---- */

/*
 * Reads and checks a pagemap, and the size of its pages file. Of a task: -ENOENT is an error, and logged; of an object:
 * one without data has no pagemap.
 */
int pages_read_task(struct restore *r, const struct task *t, struct pagemap **mapp);
int pages_read_object(struct restore *r, uint64_t id, struct pagemap **mapp);

/* The bytes of one run, for what is looked at before memory is made. */
int pages_read_run(const struct pagemap *map, const struct page_run *run, uint8_t *buf);

/*
 * Writes runs of a pagemap, ascending, all from its own pages file, into the memory of a process, which has to be
 * writable. With run->compare only what differs is written, so that the rest stays shared.
 */
int pages_fill_task(struct restore *r, const struct pagemap *map, pid_t pid, const struct page_run *runs, size_t n);

/* Fills an object that is mapped here, writable, in whole: `size` bytes, a multiple of pages. */
int pages_fill_object(struct restore *r, struct pagemap *map, void *at, uint64_t size);

/*
 * One that takes from the pagemap's pages file has taken all; after the last one the memory is given back that the file
 * takes with --stream. pages_fill_object() does it by itself.
 */
void pages_done_with(struct pagemap *map);

#endif
