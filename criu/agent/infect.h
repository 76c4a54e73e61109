/* SPDX-License-Identifier: GPL-2.0-only */
/* The agent's way into a frozen task and out again: dump's half. Restored tasks are born with one (restore/build.c). */
#ifndef CRIU_AGENT_INFECT_H
#define CRIU_AGENT_INFECT_H

#include "tree/dump.h"

/*
 * Puts an area into the task and lets its leader run the agent there (t->threads[0].dump->agent). The task is frozen,
 * its registers and signal masks are in thread->dump. Changes none of the task's text and none of its memory but the
 * lowest bytes of its stack mapping, which are put back. Undo entry in the guardian. Errors are logged.
 */
int agent_infect(struct dump *d, struct task *t);

/* Lets another thread of an entered task run the agent, in a slot of its own; agent_wait() before the first batch. */
int agent_infect_thread(struct dump *d, struct thread *th);

/* Takes all agents and the area out of the task again: registers, masks, mappings as before; the task is frozen as
 * before. */
int agent_cure(struct dump *d, struct task *t);

/*
 * For the guardian: what is left of an area whose tool has died. The agents have gone back to their tasks by
 * themselves; this takes the mapping away.
 */
int agent_remove_area(pid_t pid, raddr_t addr, uint64_t size);

/*
 * For agent/hidden_copy.c. An agent without a thread in the task's area, for a process that shares it; it exits when
 * criu dies.
 */
struct agent *agent_spare(struct dump *d, struct task *t);

/*
 * What the agent's way in has written below the task's stack is taken out of a copy that was made meanwhile. 0 or a
 * negative errno, not logged.
 */
int agent_clean_copy(const struct task *t, pid_t copy);

/* Where the area is while the agent is inside. */
raddr_t agent_area(const struct task *t, uint64_t *size);

/* Until no agent is inside of a task that runs: it makes no call of ours any more. 0 or a negative errno. */
int agent_await_left(pid_t pid, raddr_t addr, uint64_t size);

/*
 * A task that runs waits for its child (a number of its own pid namespace), which has ended. release: our number of
 * that where it is still traced by us: the parent gets it when all its threads stand, so that no call of theirs does.
 * addr, size: the area, where an agent may still be inside. 0 or a negative errno (mostly logged).
 */
int agent_reap(pid_t pid, pid_t child, pid_t release, raddr_t addr, uint64_t size);

#endif
