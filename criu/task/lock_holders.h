/* SPDX-License-Identifier: GPL-2.0-only */
/* Which processes outside of the tree hold a file lock; for messages of task/lock.c. */
#ifndef CRIU_TASK_LOCK_HOLDERS_H
#define CRIU_TASK_LOCK_HOLDERS_H

#include "files/files.h"
#include "proc/lockline.h"
#include "lib/arena_hash.h"
#include "file-lock.pb-c.h"

/* Dump: what is known of processes outside of the tree. Zero-initialised. */
struct outsiders {
	struct outsider *first;
};

/*
 * Dump: warns of a lock that belongs to an open file which a process outside of the tree has too: the lock stays taken
 * while that process lives, and a restore will find it taken. Looks at the tree's parent and at the process that took
 * the lock (taker; 0: none).
 */
void lock_holders_warn(struct dump *d, struct outsiders *o, const struct file_locked *l, pid_t taker);

/* "the POSIX write lock on bytes 10 to 14", in a buffer of the caller's. */
const char *lock_holders_text(const FileLockEntry *e, char *buf, size_t size);

/* Restore: logs why a lock could not be taken (err, negative), and which process holds it. Returns err. */
int lock_holders_refused(const struct task *t, const FileLockEntry *e, int err);

#endif
