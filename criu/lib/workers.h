/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The worker pool: jobs that share nothing, done by several threads. Two ways to use it:
 *
 * - workers_start(), workers_wait(): results are taken in order by the thread that asked, such as sockets that are read
 *   while their images are written;
 * - workers_run(): large jobs, each done from its beginning to its end by one thread, such as pages that are copied.
 */
#ifndef CRIU_LIB_WORKERS_H
#define CRIU_LIB_WORKERS_H

#include "common.h"

struct workers;

/* Job number i. What the job needs and its results are in arg; others run at the same time. */
typedef void (*workers_job)(void *arg, size_t i);

/*
 * Starts n jobs. At most `ahead` of them are done, or being done, that workers_wait() has not been called for: that
 * bounds what their results may hold in memory. As many threads as there are processors for us, and none where there
 * is little to do: then, and where no thread can be had, the caller does all in workers_wait(). Never NULL: memory as
 * arena_alloc().
 */
struct workers *workers_start(size_t n, size_t ahead, workers_job job, void *arg);

/* Waits for job i, or does it. To be called for 0, 1, 2, ... in this order, by the thread that called workers_start().
 */
void workers_wait(struct workers *w, size_t i);

/* Ends the pool: jobs that are being done are waited for, others are not begun. Returns how many were begun. NULL is
 * fine. */
size_t workers_end(struct workers *w);

/* A job of workers_run(). buffer: the thread's own, kept from job to job. 0 or a negative errno (logged). */
typedef int (*workers_step)(struct workers *w, void *arg, size_t i, void *buffer);

/*
 * Does n jobs, begun in order, with at most `threads` threads, of which the caller is one, and no more than there are
 * processors for us. Each has a buffer of buffer_size bytes (a multiple of a page; aligned to one). After an error no
 * job is begun any more. Returns the first error other than -ECANCELED.
 */
int workers_run(size_t n, size_t threads, size_t buffer_size, workers_step step, void *arg);

/*
 * In a job of workers_run(): calls fn when all jobs before i have had their turn or have ended; one at a time, so fn
 * should be short. -ECANCELED, without a call, when some job has failed.
 */
int workers_in_turn(struct workers *w, size_t i, void (*fn)(void *), void *arg);

#endif
