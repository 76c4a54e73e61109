/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A tool that waits for a task which stands still for it would wait forever: when a file that it opens has to be
 * allowed by a fanotify group of the tree. It cannot be known before, any file may be marked. So a thread looks on.
 */
#ifndef CRIU_CORE_STANDSTILL_H
#define CRIU_CORE_STANDSTILL_H

#include "core/task.h"

struct standstill;

/*
 * From here on the tasks of the tree stand still, until standstill_end(). When the tool is found to wait for one of
 * them meanwhile, that is an error which ends it on the spot, as a kill would: the guardian, which has to be there,
 * takes all back. 0 or a negative errno (logged).
 */
int standstill_begin(const struct tree *tree, struct standstill **sp);

/* May be called with NULL. */
void standstill_end(struct standstill *s);

#endif
