/* SPDX-License-Identifier: GPL-2.0-only */
/* What the rows of task/ share: reading the answers of an agent, which are foreign. */
#ifndef CRIU_TASK_ANSWER_H
#define CRIU_TASK_ANSWER_H

#include "agent/batch.h"
#include "tree/kind.h"

/* Result of the i-th operation that ask() added: a negative errno on failure, -ECANCELED when it was not carried out.
 */
static inline int64_t answer_ret(const struct answers *a, unsigned i)
{
	return a->op[i].flags & AGENT_OP_DONE ? a->op[i].ret : -ECANCELED;
}

static inline bool is_leader(const struct thread *th)
{
	return th == th->task->threads;
}

/* The part of a task's image that stands with its leader. */
static inline TaskCoreEntry *tc_of(const struct thread *th)
{
	return th->task->threads[0].core->tc;
}

#endif
