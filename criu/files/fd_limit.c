/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "files/fd_limit.h"
#include "files/files.h"
#include "lib/log.h"

/* What is open beside the files of the tree. */
#define SPARE_FILES    1000

/* How many numbers the table of descriptors has room for from the start: 32 KiB. */
#define ROOM_FOR_FILES 4096

/*
 * The kernel makes the table larger when a number is beyond it. If the process has threads by then, it waits for an RCU
 * grace period first (linux/fs/file.c, expand_fdtable()): 10 to 25 ms each time that the table doubles.
 */
static void make_room(rlim_t files)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, (int)MIN(files, (rlim_t)ROOM_FOR_FILES) - 1);

	if (fd >= 0)
		close(fd);
}

void files_raise_limit(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l))
		return;
	if (l.rlim_cur < l.rlim_max) {
		l.rlim_cur = l.rlim_max;
		setrlimit(RLIMIT_NOFILE, &l);
	}
	make_room(l.rlim_cur);
}

size_t files_spare(void)
{
	struct rlimit l;

	return getrlimit(RLIMIT_NOFILE, &l) ? 0 : (size_t)MIN(l.rlim_cur, 1U << 20) / 8;
}

/* A free number is needed too, for the socket (files/fdpass.h) while all others are in place. */
static uint32_t highest_needed(const struct task *t)
{
	uint32_t gap = 0, top = t->n_fds ? t->fds[t->n_fds - 1]->fd : 0;

	while (gap < t->n_fds && t->fds[gap]->fd == gap)
		gap++;
	return MAX(gap, top);
}

int fd_limit_for_tasks(struct restore *r)
{
	const struct task *worst = NULL;
	uint32_t need = 0;
	struct rlimit lim;
	rlim_t had;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		uint32_t n = highest_needed(r->tree.tasks[i]);

		if (n >= need) {
			need = n;
			worst = r->tree.tasks[i];
		}
	}
	if (getrlimit(RLIMIT_NOFILE, &lim))
		return log_errno(-errno, "getrlimit(RLIMIT_NOFILE)");
	had = lim.rlim_max;
	lim.rlim_max = MAX(lim.rlim_max, (rlim_t)need + 1);
	lim.rlim_cur = lim.rlim_max;
	if (!setrlimit(RLIMIT_NOFILE, &lim))
		return 0;
	if (need >= had)
		return log_refusal(-errno,
		                   "%s: has descriptor %u (or needs it on the way), but the hard limit of open files "
		                   "is %llu here; restore with a higher one (ulimit -Hn)",
		                   task_name(worst), need, (unsigned long long)had);
	return log_errno(-errno, "setrlimit(RLIMIT_NOFILE) to %llu", (unsigned long long)lim.rlim_max);
}

/* More than one task's descriptors may be open at once: ends of pairs, sockets with names. */
int fd_limit_for_files(size_t n)
{
	rlim_t want = (rlim_t)n + SPARE_FILES;
	struct rlimit lim, more = { .rlim_cur = want, .rlim_max = want };

	if (getrlimit(RLIMIT_NOFILE, &lim))
		return 0;
	if (lim.rlim_max < want && setrlimit(RLIMIT_NOFILE, &more))
		log_debug("setrlimit(RLIMIT_NOFILE) to %llu: %s", (unsigned long long)want, strerror(errno));
	else
		lim.rlim_cur = MAX(lim.rlim_cur, want);
	return (int)MIN(lim.rlim_cur / 2, (rlim_t)INT32_MAX);
}
