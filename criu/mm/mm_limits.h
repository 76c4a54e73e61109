/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what an address space has beside mappings: where code, data, heap, stack, arguments and environment
 * lie, the auxiliary vector, and the executable. Both directions. */
#ifndef CRIU_MM_MM_LIMITS_H
#define CRIU_MM_MM_LIMITS_H

#include "tree/dump.h"
#include "tree/restore.h"

/* Fills them into t->mm; the end of the heap comes from the agent. 0 or a negative errno (logged). */
int mm_limits_dump(struct dump *d, struct task *t);

/* Before anything is started. -EBADMSG where the image is damaged, another negative errno after a refusal. */
int mm_limits_check(struct restore *r, const struct task *t);

/* PR_SET_MM_MAP, when all mappings are in place. */
int mm_limits_restore(struct restore *r, struct task *t);

#endif
