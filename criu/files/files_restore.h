/* SPDX-License-Identifier: GPL-2.0-only */
/* Open file descriptions at restore: finding them and opening them once; see files/files.h. */
#ifndef CRIU_FILES_FILES_RESTORE_H
#define CRIU_FILES_FILES_RESTORE_H

#include "tree/kind.h"

/*
 * Reads fdinfo-* (into t->fds; tasks that share a table share the array) and files.img, and lets kinds read their
 * images; checks types, ids, that every fdinfo names an existing file, and that all numbers are possible. Raises our
 * own limit of open files to the hard one, or higher where numbers need it and it is allowed.
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

/* A kind's read_images(): a queue names this file, so that it stays open here. -ENOENT (logged) for an unknown id. */
int files_pin(struct restore *r, uint32_t id);

/* The description was made with others (in prepare(), or a kind's open() of another): fd is ours and taken over. */
void files_set(struct restore *r, uint32_t id, int fd);

/*
 * A new descriptor of ours for a file, which the caller closes: a duplicate of our own while that is open, else of one
 * that a task has already (pidfd_getfd(2)), else it is opened. Negative errno (logged).
 */
int files_borrow(struct restore *r, uint32_t id);

/* Whether a descriptor table wants it that does not have it yet (and not only a queue). */
bool files_tabled(struct restore *r, uint32_t id);

/*
 * Calls fn for all messages of a kind that a descriptor table or a queue wants and that are not inherited, until one
 * returns non-zero, which is returned.
 */
int files_each(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
               void *arg);

/* The same for all messages of the kind, also those that nothing wants (a socket's peer outside of the tree). */
int files_all(struct restore *r, const struct fd_kind *kind, int (*fn)(struct restore *r, const void *msg, void *arg),
              void *arg);

/* Runs post_open() of all that were opened, once all tasks have their descriptors. */
int files_post_open(struct restore *r);

#endif
