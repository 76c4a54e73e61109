/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Jobs that several threads do while their results are taken in order by the one that asked: for many small pieces of
 * work that share nothing, such as reading sockets.
 */
#ifndef CRIU_LIB_WORKERS_H
#define CRIU_LIB_WORKERS_H

#include "common.h"

struct workers;

/* Job number i. What it needs and what comes out is in arg; others run at the same time. */
typedef void (*workers_job)(void *arg, size_t i);

/*
 * Starts n jobs. At most `ahead` of them are done, or being done, that workers_wait() has not been called for: what
 * their results may hold in memory. As many threads as there are processors for us, and none where there is little to
 * do: then, and where none can be had, the caller does all in workers_wait(). Never NULL: memory as arena_alloc().
 */
struct workers *workers_start(size_t n, size_t ahead, workers_job job, void *arg);

/* Waits for job i, or does it. To be called for 0, 1, 2, ... in this order, by the thread that started it. */
void workers_wait(struct workers *t, size_t i);

/* Ends it: jobs that are being done are waited for, others are not begun. Returns how many were begun. NULL is fine. */
size_t workers_end(struct workers *t);

#endif
