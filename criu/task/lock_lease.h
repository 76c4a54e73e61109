/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Leases that are being broken: a process waits in open(2), the holder has had the signal. Where that process has the
 * file open by the time of the restore, the lease is what it was to become; else it is taken and broken again, without
 * a second signal, and the kernel's lease-break-time begins anew. For task/lock.c.
 */
#ifndef CRIU_TASK_LOCK_LEASE_H
#define CRIU_TASK_LOCK_LEASE_H

#include "agent/agent.h"
#include "files/files.h"
#include "proc/lockline.h"
#include "file-lock.pb-c.h"

bool lock_lease_is_breaking(const FileLockEntry *e);

/* Whether the image names a lease as it can be. */
bool lock_lease_is_known(const FileLockEntry *e);

/* The type that it had before, to be taken again; flags: of the description. */
int lock_lease_before(const FileLockEntry *e, uint32_t flags);

/* Breaks it, when the task has taken it. fown: of the description in the images, or NULL. 0 or a negative errno. */
int lock_lease_break(struct restore *r, const struct task *t, const FileLockEntry *e, const FownEntry *fown);

/*
 * Dump: whether a task has the file of a write lease mapped too. That is possible where the mapping was made from the
 * open file that has the lease; a restored one is another open file, and fcntl(F_SETLEASE) says EAGAIN.
 */
bool lock_lease_is_mapped(const struct tree *tree, const struct lock_line *line);

/* When it cannot be taken: leaves what it was to become. */
int lock_lease_over(const struct task *t, struct batch *b, const FileLockEntry *e);

#endif
