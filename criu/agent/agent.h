/* SPDX-License-Identifier: GPL-2.0-only */
/* One agent, as criu sees it, and where its things lie in the area. Batches are in agent/batch.h. */
#ifndef CRIU_AGENT_AGENT_H
#define CRIU_AGENT_AGENT_H

#include "agent/batch.h"
#include "lib/arena.h"
#include "tree/task.h"

/*
 * Sizes of an agent's region: a small one for threads and for tasks that do little, a large one for leaders. Slot
 * first, then operations, then space for data, and the stack at the end.
 */
#define AGENT_SMALL 4096UL
#define AGENT_LARGE (216UL << 10)

struct unfreezer;

struct batch {
	unsigned n;
	size_t used; /* of the space */
	bool ran;    /* results stand; the next operation starts anew */
	int err;     /* the first error; sticks until batch_run() has returned it */
	const char *what;
	const char **whats; /* one for each operation */
};

struct agent {
	const struct thread *th; /* for messages; NULL for a helper */
	pid_t tid;
	bool traced;     /* its stops are told by waitpid() */
	unsigned asleep; /* so many looks in a row found it uninterruptible */
	bool stop_came;  /* a SIGSTOP arrived while it ran and has to be sent again */
	struct agent_slot *slot;
	raddr_t slot_at;
	struct agent_op *ops;
	raddr_t ops_at;
	unsigned max_ops;
	uint8_t *space;
	raddr_t space_at;
	size_t space_size;
	raddr_t stack_top;
	struct batch batch;
	const struct unfreezer *unfreezer; /* thaws its cgroup if that is frozen meanwhile; may be NULL */
};

/*
 * An agent in a region: ours at local, in the task at `at`, size AGENT_SMALL or AGENT_LARGE. Fills in the slot. death
 * is the address of the death word in the task.
 */
struct agent *agent_new(struct arena *arena, const struct thread *th, void *local, raddr_t at, size_t size,
                        raddr_t death, unsigned on_death);

/* Whose agent that is, for messages. */
const char *agent_name(const struct agent *a);

/* Waits until the agent stands in its loop. 0; -ESRCH (logged) if its task died or stopped with a fault. */
int agent_wait(struct agent *a);

/* Starts a batch without waiting, to let several agents work side by side; batch_finish() is the rest of batch_run().
 */
void batch_start(struct batch *b);
int batch_finish(struct batch *b);

/*
 * Adds a clone3 whose child starts as `child`, an agent in the same address space or in a copy of it. args: a local
 * struct clone_args, whose stack is set here. flags: AGENT_OP_STOP or 0. The pid is its batch_ret().
 */
struct clone_args;
int batch_clone(struct batch *b, struct clone_args *args, const struct agent *child, unsigned flags);

#endif
