/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fibers: pieces of work that one thread does side by side, each on a stack of its own. Where one has to wait for
 * another process, the next one goes on. For what only one thread may do, such as ptrace(2): while criu sets the second
 * task up, the first one has come to its stop.
 *
 * Only fiber_yield() changes from one to another, and only two waits call it: for an agent (agent_wait()), and for a
 * stop in a call of ours (agent/inject.c). All else is as if each ran alone; what is shared by several tasks may have
 * changed behind such a wait. What belongs to the thread has to be as it was: so where it is changed (a visit in
 * another namespace), and where nothing may come in between, fibers are held.
 */
#ifndef CRIU_LIB_FIBER_H
#define CRIU_LIB_FIBER_H

#include "common.h"

/* So many at a time are worth it. */
#define FIBERS_MAX 16

/*
 * Runs fn(arg, 0) to fn(arg, n - 1) side by side (n <= FIBERS_MAX) until all have returned; one after the other where
 * there is no memory for stacks, and where a fiber calls it. errs[i] is what the i-th returned.
 */
void fiber_run(size_t n, int (*fn)(void *arg, size_t i), void *arg, int errs[]);

/*
 * For a wait whose end has been looked for and has not come; looks counts how often (0 at first). True: others have
 * gone on, and it should be looked for again. False: all others wait too, or there are none: the wait may sleep.
 */
bool fiber_yield(unsigned *looks);

/* Until fiber_release(), as many times as this: waits sleep, and no other fiber goes on. Also while lookup_in() is set.
 */
void fiber_hold(void);
void fiber_release(void);

#endif
