/* SPDX-License-Identifier: GPL-2.0-only */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "lib/fresh_memory.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "lib/workers.h"

#define MAX_THREADS     15 /* beside the caller */
#define MAX_JOB_THREADS 7  /* of workers_start(): its jobs are small */

struct workers {
	workers_job job;   /* of workers_start() */
	workers_step step; /* of workers_run() */
	void *arg;
	size_t n, ahead, buffer_size;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* done, taken, ended, turn or err has changed */
	size_t next, taken;   /* the next job to be begun; how many have been waited for */
	size_t turn;          /* jobs before this one have had their turn */
	bool *done;           /* job i has ended; of workers_run(): or has had its turn */
	bool ended;
	int err; /* the first */
	pthread_t threads[MAX_THREADS];
	size_t n_threads;
};

/* Job i has ended or has had its turn. With the lock held. */
static void mark_done(struct workers *w, size_t i)
{
	w->done[i] = true;
	while (w->turn < w->n && w->done[w->turn])
		w->turn++;
	pthread_cond_broadcast(&w->moved);
}

/* Called with the lock held; the lock is released while the job runs. */
static void do_next(struct workers *w, void *buffer)
{
	size_t i = w->next++;
	int err = 0;

	pthread_mutex_unlock(&w->lock);
	if (w->step)
		err = w->step(w, w->arg, i, buffer);
	else
		w->job(w->arg, i);
	pthread_mutex_lock(&w->lock);
	if (err && err != -ECANCELED && !w->err)
		w->err = err;
	mark_done(w, i);
}

static bool may_begin(const struct workers *w)
{
	return w->next < w->n && w->next < w->taken + w->ahead;
}

/* A single step may be a small one, and a huge page is cleared as a whole. */
static void *new_buffer(const struct workers *w)
{
	return w->n > 1 && w->buffer_size >= FRESH_HUGE ? fresh_memory_huge(w->buffer_size)
	                                                : fresh_memory(w->buffer_size);
}

static void *worker_main(void *arg)
{
	struct workers *w = arg;
	void *buffer = w->buffer_size ? new_buffer(w) : NULL;

	pthread_mutex_lock(&w->lock);
	if (w->buffer_size && !buffer && !w->err)
		w->err = log_errno(-ENOMEM, "out of memory for a buffer of %zu bytes", w->buffer_size);
	while (!w->ended && !w->err && w->next < w->n) {
		if (may_begin(w))
			do_next(w, buffer);
		else
			pthread_cond_wait(&w->moved, &w->lock);
	}
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
	fresh_memory_free(buffer, w->buffer_size);
	return NULL;
}

static size_t count_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (size_t)CPU_COUNT(&set);
}

/* Sets up a pool that has all of `spec` and `wanted` threads beside the caller, or fewer where none can be had. */
static struct workers *start_pool(const struct workers *spec, size_t wanted)
{
	struct workers *w = calloc(1, sizeof(*w));
	bool *done = calloc(spec->n ?: 1, sizeof(*done));

	if (!w || !done) {
		log_errno(-ENOMEM, "out of memory for %zu worker jobs", spec->n);
		abort();
	}
	*w = *spec;
	w->done = done;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->moved, NULL);
	while (w->n_threads < wanted && !own_pids_thread(&w->threads[w->n_threads], worker_main, w))
		w->n_threads++;
	return w;
}

static void join_threads(struct workers *w)
{
	while (w->n_threads)
		pthread_join(w->threads[--w->n_threads], NULL);
}

static void free_pool(struct workers *w)
{
	pthread_cond_destroy(&w->moved);
	pthread_mutex_destroy(&w->lock);
	free(w->done);
	free(w);
}

struct workers *workers_start(size_t n, size_t ahead, workers_job job, void *arg)
{
	struct workers spec = { .job = job, .arg = arg, .n = n, .ahead = MAX(ahead, (size_t)1) };
	size_t wanted = MIN(count_cpus() - 1, n / 4); /* starting a thread takes as long as some jobs */

	return start_pool(&spec, MIN(wanted, (size_t)MAX_JOB_THREADS));
}

void workers_wait(struct workers *w, size_t i)
{
	pthread_mutex_lock(&w->lock);
	w->taken = i + 1;
	pthread_cond_broadcast(&w->moved);
	while (!w->done[i]) {
		if (may_begin(w))
			do_next(w, NULL);
		else
			pthread_cond_wait(&w->moved, &w->lock);
	}
	pthread_mutex_unlock(&w->lock);
}

size_t workers_end(struct workers *w)
{
	size_t begun;

	if (!w)
		return 0;
	pthread_mutex_lock(&w->lock);
	w->ended = true;
	begun = w->next;
	pthread_cond_broadcast(&w->moved);
	pthread_mutex_unlock(&w->lock);
	join_threads(w);
	free_pool(w);
	return begun;
}

int workers_run(size_t n, size_t threads, size_t buffer_size, workers_step step, void *arg)
{
	struct workers spec = { .step = step, .arg = arg, .n = n, .ahead = n, .buffer_size = buffer_size };
	size_t wanted = MIN(MIN(threads, count_cpus()), n);
	struct workers *w = start_pool(&spec, wanted ? MIN(wanted - 1, (size_t)MAX_THREADS) : 0);
	int err;

	worker_main(w); /* where no thread can be started, the caller does all */
	join_threads(w);
	err = w->err;
	free_pool(w);
	return err;
}

int workers_in_turn(struct workers *w, size_t i, void (*fn)(void *), void *arg)
{
	int err;

	pthread_mutex_lock(&w->lock);
	while (w->turn < i && !w->err)
		pthread_cond_wait(&w->moved, &w->lock);
	err = w->err ? -ECANCELED : 0;
	if (!err) {
		fn(arg);
		mark_done(w, i);
	}
	pthread_mutex_unlock(&w->lock);
	return err;
}
