/* SPDX-License-Identifier: GPL-2.0-only */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/workers.h"

#define MAX_THREADS 7

struct workers {
	workers_job job;
	void *arg;
	size_t n, ahead;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* done, taken or ended have changed */
	size_t next, taken;   /* the next job to be begun; how many were waited for */
	bool *done;
	bool ended;
	pthread_t threads[MAX_THREADS];
	size_t n_threads;
};

/* Called with the lock held; the lock is released while the job runs. */
static void do_next(struct workers *t)
{
	size_t i = t->next++;

	pthread_mutex_unlock(&t->lock);
	t->job(t->arg, i);
	pthread_mutex_lock(&t->lock);
	t->done[i] = true;
	pthread_cond_broadcast(&t->moved);
}

static bool may_begin(const struct workers *t)
{
	return t->next < t->n && t->next < t->taken + t->ahead;
}

static void *worker_main(void *arg)
{
	struct workers *t = arg;

	pthread_mutex_lock(&t->lock);
	while (!t->ended && t->next < t->n) {
		if (may_begin(t))
			do_next(t);
		else
			pthread_cond_wait(&t->moved, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* The caller is one more. */
static size_t threads_wanted(size_t n)
{
	cpu_set_t set;
	size_t cpus = sched_getaffinity(0, sizeof(set), &set) ? 1 : (size_t)CPU_COUNT(&set), wanted;

	wanted = MIN(cpus - 1, n / 4); /* starting one takes as long as some jobs */
	return MIN(wanted, (size_t)MAX_THREADS);
}

struct workers *workers_start(size_t n, size_t ahead, workers_job job, void *arg)
{
	struct workers *t = calloc(1, sizeof(*t));
	size_t wanted = threads_wanted(n);

	if (t)
		t->done = calloc(n ?: 1, sizeof(*t->done));
	if (!t || !t->done) {
		log_errno(-ENOMEM, "out of memory for %zu worker jobs", n);
		abort();
	}
	*t = (struct workers) { .job = job, .arg = arg, .n = n, .ahead = MAX(ahead, (size_t)1), .done = t->done };
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->moved, NULL);
	while (t->n_threads < wanted && !pthread_create(&t->threads[t->n_threads], NULL, worker_main, t))
		t->n_threads++;
	return t;
}

void workers_wait(struct workers *t, size_t i)
{
	pthread_mutex_lock(&t->lock);
	t->taken = i + 1;
	pthread_cond_broadcast(&t->moved);
	while (!t->done[i]) {
		if (may_begin(t))
			do_next(t);
		else
			pthread_cond_wait(&t->moved, &t->lock);
	}
	pthread_mutex_unlock(&t->lock);
}

size_t workers_end(struct workers *t)
{
	size_t begun;

	if (!t)
		return 0;
	pthread_mutex_lock(&t->lock);
	t->ended = true;
	begun = t->next;
	pthread_cond_broadcast(&t->moved);
	pthread_mutex_unlock(&t->lock);
	for (size_t i = 0; i < t->n_threads; i++)
		pthread_join(t->threads[i], NULL);
	pthread_cond_destroy(&t->moved);
	pthread_mutex_destroy(&t->lock);
	free(t->done);
	free(t);
	return begun;
}
