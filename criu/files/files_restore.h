/* SPDX-License-Identifier: GPL-2.0-only */
/* Open file descriptions at restore: finding them and opening them once; see files/files.h. */
#ifndef CRIU_FILES_FILES_RESTORE_H
#define CRIU_FILES_FILES_RESTORE_H

#include "tree/kind.h"

/*
 * Reads fdinfo-* (into t->fds; tasks that share a table share the array) and files.img, and lets kinds read their
 * images; checks types, ids, that every fdinfo names a file that is there, and that numbers are below the limit that we
 * can have. Raises our own limit of open files to the hard one, or higher where numbers need it and it is allowed.
 */
int files_read(struct restore *r);

/*
 * Checks before anything is started that files by path can be opened; names every missing one with the tasks and
 * descriptors (or mapping, exe, cwd) that want it.
 */
int files_check(struct restore *r);

/*
 * Our descriptor for a description, opened at the first call; it stays ours. Negative errno (logged). A file that no
 * descriptor table wants (a mapping, cwd) may be closed again after 512 more of these: use it at once.
 */
int files_open(struct restore *r, uint32_t id);

/* The message of a file: NULL where the id is unknown. *kind may be NULL. */
const void *files_message(struct restore *r, uint32_t id, const struct fd_kind **kind);

/* A row's read_images(): this file is wanted though no table may have it. -ENOENT (logged) for an id that is not there.
 */
int files_hold(struct restore *r, uint32_t id);

/* prepare(): the description is made; fd is ours and taken over. */
void files_set(struct restore *r, uint32_t id, int fd);

/*
 * A new descriptor of ours for a file, which the caller closes: a duplicate of our own while it is open, else of one
 * that a task has already (pidfd_getfd(2)), else it is opened. Negative errno (logged).
 */
int files_borrow(struct restore *r, uint32_t id);

/* Where a file is in a task's table: for rows whose work is done inside. NULL before files_install() or for none. */
struct task *files_holder(struct restore *r, uint32_t id, int *number);

/* Whether some descriptor table wants it still (and not only a queue). */
bool files_tabled(struct restore *r, uint32_t id);

/* One of the descriptor tables that want it has it, under the number: ours is closed with the last. */
void files_release(struct restore *r, uint32_t id, struct task *t, int number);

/* Calls fn for all messages of a kind that some descriptor table wants and nobody hands in, until one returns non-zero,
 * which is returned.
 */
int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg);

/* The same for all messages of the kind, those that nobody has (a socket's peer outside) too. */
int files_all(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
              void *arg);

/* Runs post_open() of all that were opened, once all tasks have their descriptors. */
int files_post_open(struct restore *r);

#endif
