/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "tree/dump.h"
#include "files/files.h"
#include "files/files_ahead.h"
#include "lib/log.h"
#include "lib/workers.h"

/* So many at a time, and at most so many times ahead. */
#define PER_JOB    8
#define JOBS_AHEAD 10
#define ROOM       ((JOBS_AHEAD + 1) * PER_JOB)

struct files_ahead {
	const struct task *task;
	const int *numbers;
	size_t n, taken; /* so many were handed out */
	struct workers *team;
	struct looked room[ROOM]; /* of number i at i % ROOM */
};

static size_t read_fdinfo(int proc_fd, int number, char *text, size_t size)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	size_t len = 0;
	ssize_t n = 1;

	snprintf(path, sizeof(path), "fdinfo/%d", number);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && n > 0 && len < size - 1) {
		n = read(fd, text + len, size - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	text[len] = '\0';
	return n == 0 ? len : 0; /* read up to its end */
}

static void look(const struct task *t, int number, struct looked *l)
{
	*l = (struct looked) { .fd = (int)syscall(SYS_pidfd_getfd, t->dump->pidfd, number, 0) };
	if (l->fd < 0)
		return;
	l->has_st = !fstat(l->fd, &l->st);
	l->len = read_fdinfo(t->dump->proc_fd, number, l->text, sizeof(l->text));
}

static void look_job(void *arg, size_t job)
{
	struct files_ahead *a = arg;

	for (size_t i = job * PER_JOB; i < MIN(a->n, (job + 1) * PER_JOB); i++)
		look(a->task, a->numbers[i], &a->room[i % ROOM]);
}

struct files_ahead *files_ahead_start(const struct task *t, const int *numbers, size_t n)
{
	struct files_ahead *a = malloc(sizeof(*a));
	size_t ahead = MIN((size_t)JOBS_AHEAD, files_spare() / PER_JOB);

	if (!a) {
		log_errno(-ENOMEM, "memory for descriptors");
		abort();
	}
	a->task = t;
	a->numbers = numbers;
	a->n = n;
	a->taken = 0;
	/* Where descriptors are scarce, none is held before its turn. */
	a->team = ahead ? workers_start((n + PER_JOB - 1) / PER_JOB, ahead, look_job, a) : NULL;
	return a;
}

static void drop(struct looked *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

struct looked *files_ahead_next(struct files_ahead *a, size_t i)
{
	if (!a->team) {
		a->room[0] = (struct looked) { .fd = -1 };
		return &a->room[0];
	}
	if (i)
		drop(&a->room[(i - 1) % ROOM]);
	if (i % PER_JOB == 0)
		workers_wait(a->team, i / PER_JOB);
	a->taken = i + 1;
	return &a->room[i % ROOM];
}

void files_ahead_end(struct files_ahead *a)
{
	size_t begun;

	if (!a)
		return;
	begun = workers_end(a->team) * PER_JOB;
	for (size_t i = a->taken ? a->taken - 1 : 0; i < MIN(begun, a->n); i++)
		drop(&a->room[i % ROOM]);
	free(a);
}
