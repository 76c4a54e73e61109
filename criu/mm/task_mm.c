/* SPDX-License-Identifier: GPL-2.0-only */
#include "mm/task_mm.h"

#include "tree/subsys.h"

extern const struct subsys task_mm_subsys;

/* Nothing but what the files of mm/ share; memory_subsys is what works. */
const struct subsys task_mm_subsys = {
	.name = "memory, state",
	.state = { .restore = sizeof(struct mm_restore) },
};

struct mm_restore *mm_restore_of(const struct restore *r)
{
	return restore_state(r, &task_mm_subsys);
}

struct task_mm *task_mm(const struct restore *r, const struct task *t)
{
	const struct task *first = t->mm ? tree_first_vm(&r->tree, t) : NULL;

	return first ? first->restore->mm : NULL;
}
