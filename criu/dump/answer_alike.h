/* SPDX-License-Identifier: GPL-2.0-only */
/* What a thread would say, told by another one of its process in which the kernel keeps the same. */
#ifndef CRIU_DUMP_ANSWER_ALIKE_H
#define CRIU_DUMP_ANSWER_ALIKE_H

#include "tree/dump.h"

struct batch;

/* What one thread, the model, was asked and has said, and an agent for another one that never runs. */
struct alike;

/*
 * The thread whose answers may stand for those of many, and which is asked itself; NULL where each is asked. The
 * threads stand in their stops, and none of them is changed meanwhile.
 */
const struct thread *answer_alike_model(const struct task *t);

/* Whether the kernel keeps the same of it as of the model. */
bool answer_alike_is(const struct thread *model, const struct thread *th);

/* Keeps what the model has been asked and has said, when its batch has run. NULL: answers of other calls are in it. */
struct alike *answer_alike_keep(struct arena *a, const struct thread *model);

/* The batch of th, for all rows to ask as they ask an agent. It does not run. */
struct batch *answer_alike_batch(struct alike *k, struct thread *th);

/*
 * Fills in what th would say. False: it was asked something else than the model, and has to be asked itself. In either
 * case th has no agent any more.
 */
bool answer_alike_say(struct alike *k, struct thread *th);

/* The operations of answer_alike_batch(), with their answers. */
const struct agent_op *answer_alike_ops(const struct alike *k);

#endif
