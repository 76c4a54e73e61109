/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "tree/dump.h"
#include "files/files_ahead.h"
#include "files/files.h"
#include "lib/io.h"
#include "lib/log.h"
#include "lib/workers.h"

#define PER_JOB    8  /* descriptors */
#define JOBS_AHEAD 10 /* that may be done before they are asked for */
#define ROOM       ((JOBS_AHEAD + 1) * PER_JOB)

struct files_ahead {
	struct foreign *mounts;
	const struct task *task;
	const int *numbers;
	size_t n;
	struct workers *workers;
	bool close_late; /* what was asked for is closed when its room is needed, by the thread that needs it */
	struct prefetched room[ROOM]; /* of number i at i % ROOM */
};

static size_t prefetch_fdinfo(int proc_fd, int number, char *text, size_t size)
{
	char path[32];
	_cleanup_close_ int fd = -1;
	size_t len;
	ssize_t n;

	snprintf(path, sizeof(path), "fdinfo/%d", number);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1); /* one record: a read that does not fill the buffer has all */
	len = n < 0 ? 0 : (size_t)n;
	text[len] = '\0';
	return len;
}

static void drop_prefetched(struct prefetched *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

/* Not of other kinds: those of sockets are not needed, and to read one makes an inode in /proc. */
static void prefetch_link(int proc_fd, int number, struct prefetched *p)
{
	char path[32];
	ssize_t n;

	snprintf(path, sizeof(path), "fd/%d", number);
	n = readlinkat(proc_fd, path, p->link, sizeof(p->link));
	p->link[n > 0 && (size_t)n < sizeof(p->link) ? n : 0] = '\0';
}

/* fdinfo first: it tells whether the file may be touched. */
static void prefetch_fd(struct foreign *mounts, const struct task *t, int number, struct prefetched *p)
{
	drop_prefetched(p);
	p->has_st = false;
	p->link[0] = '\0';
	p->len = prefetch_fdinfo(t->dump->proc_fd, number, p->text, sizeof(p->text));
	p->foreign = foreign_is_fd(mounts, t->dump->proc_fd, number, p->text);
	if (p->len == sizeof(p->text) - 1) /* not read up to its end */
		p->len = 0;
	if (p->foreign != FOREIGN_NO)
		return;
	p->fd = (int)syscall(SYS_pidfd_getfd, t->dump->pidfd, number, 0);
	p->has_st = p->fd >= 0 && !fstat(p->fd, &p->st);
	if (p->has_st && S_ISREG(p->st.st_mode))
		prefetch_link(t->dump->proc_fd, number, p);
}

static void prefetch_job(void *arg, size_t job)
{
	struct files_ahead *a = arg;

	for (size_t i = job * PER_JOB; i < MIN(a->n, (job + 1) * PER_JOB); i++)
		prefetch_fd(a->mounts, a->task, a->numbers[i], &a->room[i % ROOM]);
}

struct files_ahead *files_ahead_start(struct foreign *mounts, const struct task *t, const int *numbers, size_t n)
{
	struct files_ahead *a = malloc(sizeof(*a));
	size_t ahead = MIN((size_t)JOBS_AHEAD, files_spare() / PER_JOB);

	if (!a) {
		log_errno(-ENOMEM, "out of memory for %d descriptors", ROOM);
		abort();
	}
	a->mounts = mounts;
	a->task = t;
	a->numbers = numbers;
	a->n = n;
	a->close_late = files_spare() >= ROOM;
	for (size_t i = 0; i < ROOM; i++)
		a->room[i].fd = -1;
	/* Where descriptors are scarce, none is open before its turn. */
	a->workers = ahead ? workers_start((n + PER_JOB - 1) / PER_JOB, ahead, prefetch_job, a) : NULL;
	return a;
}

struct prefetched *files_ahead_next(struct files_ahead *a, size_t i)
{
	if (!a->workers) {
		prefetch_fd(a->mounts, a->task, a->numbers[i], &a->room[0]);
		return &a->room[0];
	}
	if (i && !a->close_late)
		drop_prefetched(&a->room[(i - 1) % ROOM]);
	if (i % PER_JOB == 0)
		workers_wait(a->workers, i / PER_JOB);
	return &a->room[i % ROOM];
}

void files_ahead_end(struct files_ahead *a)
{
	if (!a)
		return;
	workers_end(a->workers);
	for (size_t i = 0; i < ROOM; i++)
		drop_prefetched(&a->room[i]);
	free(a);
}
