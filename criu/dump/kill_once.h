/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of a tree in one system call: all or none, wherever criu and its guardian are killed. */
#ifndef CRIU_DUMP_KILL_ONCE_H
#define CRIU_DUMP_KILL_ONCE_H

#include "common.h"

struct dump;
struct kill_once;

/*
 * Before the commit: sets everything up, so that kill_once_fire() is one write(2) or one kill(2), and notes that in the
 * guardian. *kp is NULL where it cannot be had (too few descriptors): the tasks are to be killed one by one then.
 */
int kill_once_prepare(struct dump *d, struct kill_once **kp);

/* All living tasks have got SIGKILL when it returns, those aside that only another user id may kill. NULL is fine. */
void kill_once_fire(struct kill_once *k);

/* Takes kill_once_prepare() back, or cleans up after the fire. NULL is fine. */
void kill_once_free(struct dump *d, struct kill_once *k);

#endif
