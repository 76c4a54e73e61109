/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of dump/: one task's state, by ptrace and by its agents. */
#ifndef CRIU_DUMP_INSIDE_H
#define CRIU_DUMP_INSIDE_H

#include "tree/dump.h"

/* Reads what only a tracer can: registers, signal mask, the rows' peek(). The thread is frozen. */
int dump_peek(struct dump *d, struct thread *th);

/*
 * Infects tasks (at most FIBERS_MAX, no two with one memory), asks all rows of all their threads, hands the answers
 * round, and cures the tasks. While one agent works the next one is brought in.
 */
int dump_inside(struct dump *d, struct task *const tasks[], size_t n);

/* The same in a pre-dump: its leader alone is asked, by subsys.pre_inside. */
int dump_inside_briefly(struct dump *d, struct task *t);

#endif
