/* SPDX-License-Identifier: GPL-2.0-only */
#include "image/image_sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/workers.h"

#define FILES_OF_JOB 16  /* files of one job */
#define MANY_FILES   64U /* starting a thread takes as long as some */
#define MOST_THREADS 4
#define NO_BUFFER    0

struct checked {
	struct sum *sum;
	int err;
	char *why; /* where err is set */
};

struct checking {
	const struct image_dir *dir;
	struct checked *files;
	size_t n, room;
};

/* An image that comes from a disk is waited for, so several are read at once. */
static int check_some(struct workers *w, void *arg, size_t job, void *buffer)
{
	struct checking *c = arg;

	for (size_t i = job * FILES_OF_JOB; i < MIN((job + 1) * FILES_OF_JOB, c->n); i++) {
		struct checked *f = &c->files[i];
		char why[128];

		f->err = integrity_check(f->sum, image_dir_place_of(c->dir, f->sum->name), &c->room, why, sizeof(why));
		if (f->err)
			f->why = strdup(why);
	}
	return 0;
}

static void say_what(const struct image_dir *dir, const struct checked *f)
{
	const char *why = f->why ?: "is not as it was written";

	if (dir->allow_edited)
		log_warn("%s/%s %s", dir->path, f->sum->name, why);
	else
		log_errno(f->err == -EBADMSG ? 0 : f->err,
		          "%s/%s %s: the checkpoint is not as it was written; " TAKE_IT, dir->path, f->sum->name, why);
}

/* The first error; what a page server has elsewhere need not be here. */
static int sum_up(const struct checking *c)
{
	int first = 0;

	for (size_t i = 0; i < c->n; i++) {
		const struct checked *f = &c->files[i];

		if (f->err && !(f->err == -ENOENT && f->sum->sent && c->dir->sent_elsewhere)) {
			say_what(c->dir, f);
			first = first ?: f->err;
		}
		free(f->why);
	}
	return c->dir->allow_edited ? 0 : first;
}

int image_sums_check(const struct image_dir *dir, const struct sums *sums)
{
	struct checking c = { .dir = dir, .room = INTEGRITY_KEPT };
	int err;

	c.files = calloc(HASH_COUNT(sums->all) + 1, sizeof(*c.files));
	if (!c.files)
		return log_errno(-ENOMEM, "%s: checking its images", dir->path);
	for (struct sum *sum = sums->all; sum; sum = sum->hh.next)
		c.files[c.n++].sum = sum;
	err = workers_run((c.n + FILES_OF_JOB - 1) / FILES_OF_JOB, c.n < MANY_FILES ? 1 : MOST_THREADS, NO_BUFFER,
	                  check_some, &c);
	err = sum_up(&c) ?: err;
	free(c.files);
	return err;
}
