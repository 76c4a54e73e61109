/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Batches: system calls that an agent makes inside its task.
 *
 *	struct batch *b = agent_batch(agent, "its limits");
 *	int op = batch_call(b, __NR_prlimit64, 0, RLIMIT_NOFILE, 0, batch_space(b, 16, &local));
 *	err = batch_run(b);
 *
 * A batch that is full runs what it holds by itself when no result is asked for (see batch_call and batch_ask).
 */
#ifndef CRIU_AGENT_BATCH_H
#define CRIU_AGENT_BATCH_H

#include "agent_abi.h"
#include "common.h"

struct agent;
struct batch;

/* The batch of an agent, empty. `what` is for errors: "pid 812 (redis): its limits: prlimit64(...): EPERM". */
struct batch *agent_batch(struct agent *a, const char *what);

/* Changes the text for the operations that follow. A constant string: it is kept, not copied. */
void batch_what(struct batch *b, const char *what);

/*
 * Adds a call whose failure is an error of the batch (it stops there). Up to 6 arguments of any integer type; the rest
 * is 0. Runs the earlier operations first when the batch is full, so results of calls added so may be gone: use
 * batch_ask() for those. Returns the index of the operation in the batch (for batch_ref). Errors stick and are returned
 * by batch_run().
 */
#define batch_call(b, nr, ...) batch_add((b), (nr), AGENT_OP_STOP, (const uint64_t[6]) { __VA_ARGS__ })

/* Adds a call whose result the caller reads with batch_ret() after batch_run(); a failure is no error of the batch. */
#define batch_ask(b, nr, ...)  batch_add((b), (nr), 0, (const uint64_t[6]) { __VA_ARGS__ })
int batch_add(struct batch *b, unsigned nr, unsigned flags, const uint64_t arg[6]);

/* Argument number arg of the operation added last becomes the result of operation op of the same batch. */
void batch_ref(struct batch *b, unsigned arg, int op);

/*
 * Makes sure that the next n operations and size bytes of batch_space() are in one batch, by running what is there if
 * need be. For sequences that use batch_ref(), or data that several calls share.
 */
void batch_reserve(struct batch *b, unsigned n, size_t size);

/*
 * Space in the area that the task can read and write: its address there, and ours in *local (zeroed). 16-byte aligned.
 * Valid until the batch has run and the next operation is added. Larger than BATCH_SPACE_MAX is -EFBIG (it sticks).
 */
raddr_t batch_space(struct batch *b, size_t size, void *localp);
raddr_t batch_data(struct batch *b, const void *data, size_t size); /* the same, filled with a copy */
raddr_t batch_string(struct batch *b, const char *s);
#define BATCH_SPACE_MAX (64UL << 10)

/*
 * Runs everything. 0, or the negative errno of the first batch_call() that failed (logged, with the task, the text and
 * the call). -ESRCH when the task died. Afterwards results can be read until the next operation is added.
 */
int batch_run(struct batch *b);

/* The result of an operation after batch_run(): a negative errno on failure, -ECANCELED when it was not reached. */
int64_t batch_ret(const struct batch *b, int op);

/* How many operations and how much space fit into one batch of this agent (a thread's is small: 24 and 1 KiB). */
unsigned batch_capacity(const struct batch *b);

#endif
