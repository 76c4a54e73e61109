/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: files on foreign file systems (helper/foreign.h) are opened by a helper with the identity of their task. */
#ifndef CRIU_FILES_FOREIGN_RESTORE_H
#define CRIU_FILES_FOREIGN_RESTORE_H

#include "agent/batch.h"
#include "helper/foreign.h"
#include "tree/restore.h"

/*
 * Whether a path leads to a foreign file system; then *a has the mount, and the identity of the task for which the file
 * is checked or opened now (the first that wants it). 1 or 0, or a negative errno (logged).
 */
int foreign_restore_access(struct restore *r, const char *path, struct foreign_access *a);

/* Whether foreign_restore_access() said so of this file. */
bool foreign_restore_is(const struct restore *r, uint32_t id);

/*
 * Whether the file that is opened now goes to tasks as it is, so that criu need not have it: its helper keeps it, and
 * foreign_restore_keep() (which takes over *k) returns a descriptor of ours that stands for it, or a negative errno
 * (logged). foreign_restore_send() knows what such a descriptor stands for.
 */
bool foreign_restore_may_keep(const struct restore *r);
int foreign_restore_keep(struct restore *r, const struct foreign_kept *k);

/* agent_send_fds(). */
int foreign_restore_send(struct restore *r, struct task *t, const int *fds, size_t n, int *numbers);

/*
 * Around the calls of a batch for which the kernel asks whether the caller may use such a file (fchdir, PR_SET_MM): the
 * agent, still as criu, takes the ids of its task with its capabilities kept, and gives them back.
 */
void foreign_restore_become(struct restore *r, const struct task *t, struct batch *b);
void foreign_restore_return(struct restore *r, const struct task *t, struct batch *b);

/* Operations that each of the two takes. */
#define FOREIGN_BATCH_OPS 3

/* subsys.done */
void foreign_restore_done(struct restore *r);

#endif
