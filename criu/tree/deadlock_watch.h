/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tool that waits for a task which stands still for it would wait forever: when a file that it opens has to be
 * allowed by a fanotify group of the tree. It cannot be known before, any file may be marked. So a thread looks on.
 */
#ifndef CRIU_TREE_DEADLOCK_WATCH_H
#define CRIU_TREE_DEADLOCK_WATCH_H

#include "tree/task.h"

struct deadlock_watch;

/*
 * From here on the tasks of the tree stand still, until deadlock_watch_end(). When criu is found to wait for one of
 * them meanwhile, that is an error which ends it on the spot, as a kill would: the guardian, which has to be there,
 * takes all back. 0 or a negative errno (logged).
 */
int deadlock_watch_begin(const struct tree *tree, struct deadlock_watch **sp);

/* May be called with NULL. */
void deadlock_watch_end(struct deadlock_watch *s);

#endif
