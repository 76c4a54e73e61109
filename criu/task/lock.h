/* SPDX-License-Identifier: GPL-2.0-only */
/* File locks: what task/lock.c asks of task/lock_other.c: who else has to do with one. */
#ifndef CRIU_TASK_LOCK_H
#define CRIU_TASK_LOCK_H

#include "files/files.h"
#include "proc/lockline.h"
#include "lib/arena_hash.h"
#include "file-lock.pb-c.h"

/* Restore: the locks of one task, by its pid in the images. */
struct task_locks {
	int32_t pid;
	FileLockEntry **locks;
	size_t n;
	UT_hash_handle hh;
};

/* Dump: what is known of processes outside of the tree. Zero-initialised. */
struct outsiders {
	struct outsider *first;
};

/*
 * Dump: warns of a lock of an open file that a process outside of the tree has too (its parent, or taker: who took the
 * lock, 0 where nobody did): it stays taken while that lives, and a restore will find it so.
 */
void lock_warn_outside(struct dump *d, struct outsiders *o, const struct file_locked *l, pid_t taker);

/* "the POSIX write lock on bytes 10 to 14", in a buffer of the caller's. */
const char *lock_text(const FileLockEntry *e, char *buf, size_t size);

/* Restore: logs why a lock could not be taken (err, negative), with the one who holds it. Returns err. */
int lock_refused(const struct task *t, const FileLockEntry *e, int err);

#endif
