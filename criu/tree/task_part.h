/* SPDX-License-Identifier: GPL-2.0-only */
/* The rows of what every task has; see tree/kind.h. */
#ifndef CRIU_TREE_TASK_PART_H
#define CRIU_TREE_TASK_PART_H

#include "tree/dump.h"
#include "tree/restore.h"

struct batch;
struct agent_op;

/* What an agent answered to a row's ask(). */
struct answers {
	const struct agent_op *op; /* the first operation that ask() added; their order is as added */
	const void *data;          /* what ask() put into *datap: our view of its space in the area */
};

/*
 * A part of a task's or thread's state. Functions are called for each thread, leader first, when per_thread is set, and
 * for the leader alone otherwise.
 */
struct task_part {
	const char *name;
	struct row_state state;
	bool per_thread;
	/* Dump: fills its fields of th->core with what only a tracer can read: the thread stands in a ptrace stop. */
	int (*peek)(struct dump *d, struct thread *th);
	/* Dump: adds the calls that only the task itself can make. *datap is handed back in answers.data. */
	int (*ask)(struct dump *d, struct thread *th, struct batch *b, void **datap);
	/* Dump: fills its fields of th->core from outside and from the answers (all zero where ask is NULL). */
	int (*dump)(struct dump *d, struct thread *th, const struct answers *answers);
	/* Dump: everything but pages is known, as of fd_kind. */
	int (*all_collected)(struct dump *d);
	/*
	 * Dump, after that: refuses (log_refusal) what a restore by the same user on this machine would refuse for
	 * sure, with check()'s own words. Of a tree that lives on these are warnings.
	 */
	int (*foresee)(struct dump *d);
	/* Restore: checks its fields before anything is started; refuses (log_refusal) what cannot come back. */
	int (*check)(struct restore *r, const struct thread *th);
	/*
	 * Restore, of the leader of a task that enters a user namespace: adds the calls for which criu's privileges are
	 * needed, which are gone then.
	 */
	int (*before_entry)(struct restore *r, struct thread *th, struct batch *b);
	/* Restore: adds the calls that bring it back, run by the thread's own agent when all memory and descriptors are
	 * there. */
	int (*restore)(struct restore *r, struct thread *th, struct batch *b);
	/*
	 * Restore, from outside, when the thread stands seized in its last stop. For what the kernel lets others set
	 * (and what a credential change inside would have taken back).
	 */
	int (*finish)(struct restore *r, struct thread *th);
	/* Images of its own: read before anything is checked; written at the end of a dump. Or NULL. */
	int (*read_images)(struct restore *r);
	int (*write_images)(struct dump *d);
};

#endif
