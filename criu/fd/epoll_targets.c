/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "fd/epoll_numbers.h"
#include "fd/epoll_targets.h"
#include "fd/epoll_view.h"
#include "files/files.h"
#include "lib/log.h"
#include "proc/fdinfo.h"
#include "proc/kcmp.h"
#include "proc/proc.h"

/* ---- outside of the tree ---- */

/* A file that an epoll instance watches, and a process that has it: for a refusal. */
struct watched_file {
	pid_t pid; /* of the instance, which it has under the number efd */
	int efd;
	uint32_t tfd, nth; /* the number that it was added as, and which of those with that number */
	/* found: */
	pid_t holder;
	int number;
	char comm[16];
	bool in_tree;
};

static bool is_pid_in_tree(const struct dump *d, pid_t pid)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (task_id(d->tree.tasks[i]) == pid)
			return true;
	return false;
}

static bool has_watched(struct arena *a, pid_t pid, dev_t dev, uint64_t ino, struct watched_file *by)
{
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)by->efd, .tfd = by->tfd, .toff = by->nth };
	_cleanup_close_ int proc = proc_open(pid);
	int *numbers;
	size_t n = 0;

	if (proc < 0 || proc_read_fd_numbers(proc, a, &numbers, &n))
		return false;
	for (size_t i = 0; i < n; i++) {
		char path[32];
		struct stat st;

		snprintf(path, sizeof(path), "fd/%d", numbers[i]);
		if (fstatat(proc, path, &st, 0) || st.st_dev != dev || st.st_ino != ino)
			continue;
		if (syscall(SYS_kcmp, pid, by->pid, KCMP_EPOLL_TFD, (long)numbers[i], &slot))
			continue;
		by->holder = pid;
		by->number = numbers[i];
		return true;
	}
	return false;
}

/* Looks through all processes, unless there were more than 8 refusals already. */
static bool find_outside(struct dump *d, dev_t dev, uint64_t ino, struct watched_file *by)
{
	struct arena *a;
	bool found = false;
	pid_t *pids = NULL;
	size_t n = 0;

	if (log_refusals() > 8)
		return false;
	a = arena_new();
	if (a)
		proc_list_numbers(AT_FDCWD, "/proc", a, &pids, &n);
	for (size_t i = 0; i < n && !found; i++)
		found = pids[i] != getpid() && has_watched(a, pids[i], dev, ino, by);
	arena_free(a);
	if (!found)
		return false;
	by->in_tree = is_pid_in_tree(d, by->holder);
	if (proc_comm(by->holder, by->comm, sizeof(by->comm)))
		strcpy(by->comm, "?");
	return true;
}

/* ---- the targets of one instance ---- */

/* A target, and which of those with the same number it is: the kernel counts them in the order of fdinfo. */
struct target {
	EventpollTfdEntry *e;
	size_t index;
	uint32_t nth;
	bool same; /* it is what the task has under that number */
};

/* From this many targets on, starting a thread to ask for them is cheaper than kcmp(2). */
#define GUESSES_MIN 64

static int by_target_number(const void *a, const void *b)
{
	const struct target *x = a, *y = b;

	if (x->e->tfd != y->e->tfd)
		return x->e->tfd < y->e->tfd ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static struct target *sort_targets(struct dump *d, const EventpollFileEntry *m)
{
	struct target *t = arena_array(d->arena, struct target, m->n_tfd);

	for (size_t i = 0; i < m->n_tfd; i++)
		t[i] = (struct target) { .e = m->tfd[i], .index = i };
	if (m->n_tfd)
		qsort(t, m->n_tfd, sizeof(*t), by_target_number);
	for (size_t i = 1; i < m->n_tfd; i++)
		t[i].nth = t[i].e->tfd == t[i - 1].e->tfd ? t[i - 1].nth + 1 : 0;
	return t;
}

const FdinfoEntry *epoll_fd_at(FdinfoEntry *const *fds, size_t n, uint32_t number)
{
	size_t low = 0;

	while (low < n) {
		size_t mid = low + (n - low) / 2;

		if (fds[mid]->fd == number)
			return fds[mid];
		if (fds[mid]->fd < number)
			low = mid + 1;
		else
			n = mid;
	}
	return NULL;
}

/* A socket has one description, so that its inode is enough; of others kcmp tells, which walks the whole instance. */
static int find_target_file(struct dump *d, const struct epoll_instance *w, const struct target *t,
                            const FdinfoEntry *same, uint32_t *id)
{
	struct kcmp_epoll_slot slot = { .efd = (uint32_t)w->efd, .tfd = t->e->tfd, .toff = t->nth };
	dev_t dev = makedev(t->e->dev >> 20, t->e->dev & 0xfffff);
	const struct file_at *at = dev == w->sockets ? files_at(d, dev, t->e->inode) : NULL;
	long order = 1;
	int err = 0;

	*id = at ? at->id : 0;
	if (*id)
		return 0;
	if (t->same)
		order = 0;
	else if (same)
		order = syscall(SYS_kcmp, w->task->pid, w->pid, KCMP_EPOLL_TFD, (long)same->fd, &slot);
	if (order < 0)
		err = -errno;
	if (order == 0)
		*id = same->id;
	else if (!err)
		err = files_find_watched(d, dev, t->e->inode, w->pid, &slot, id);
	return err ? log_errno(err, "%s: epoll: looking for what it watches as number %u: kcmp", w->name, t->e->tfd)
	           : 0;
}

/* tfd: where the task that has the instance finds the file, as CRIU reads it; number: as what it was added. */
static void set_target_number(struct dump *d, const struct epoll_instance *w, EventpollTfdEntry *e,
                              const FdinfoEntry *same)
{
	const struct file_at *at;

	e->has_file_id = true;
	if (same && same->id == e->file_id)
		return;
	e->has_number = true;
	e->number = e->tfd;
	at = files_at(d, makedev(e->dev >> 20, e->dev & 0xfffff), e->inode);
	while (at && (at->task != w->task || at->id != e->file_id))
		at = at->next;
	if (at)
		e->tfd = (uint32_t)at->number;
}

static int find_target(struct dump *d, const struct epoll_instance *w, const struct target *t)
{
	const FdinfoEntry *same = epoll_fd_at(w->task->fds, w->task->n_fds, t->e->tfd);
	struct watched_file by = { .pid = w->pid, .efd = w->efd, .tfd = t->e->tfd, .nth = t->nth };
	int err = t->e->file_id ? 0 : find_target_file(d, w, t, same, &t->e->file_id);

	if (err)
		return err;
	if (t->e->file_id) {
		set_target_number(d, w, t->e, same);
		return 0;
	}
	if (find_outside(d, makedev(t->e->dev >> 20, t->e->dev & 0xfffff), t->e->inode, &by)) {
		if (!by.in_tree) /* else it was refused itself */
			log_refusal(-ENOTSUP,
			            "%s: epoll: what it watches as number %u is outside of the tree, as descriptor %d "
			            "of pid %d (%s): dump that process too, or end it",
			            w->name, t->e->tfd, by.number, by.holder, by.comm);
		return 0;
	}
	log_refusal(-ENOTSUP,
	            "%s: epoll: what it watches as number %u (inode %llu on device %u:%u) is in no process's table: it "
	            "may lie in a socket's queue outside of the tree; have it received or closed before the dump",
	            w->name, t->e->tfd, (unsigned long long)t->e->inode, t->e->dev >> 20, t->e->dev & 0xfffff);
	return 0;
}

/* A descriptor of ours of the instance, or -1. */
static int epoll_ours(const struct epoll_instance *w)
{
	return w->pid == getpid() ? fcntl(w->efd, F_DUPFD_CLOEXEC, 0)
	                          : (int)syscall(SYS_pidfd_getfd, w->task->dump->pidfd, w->efd, 0);
}

/* Targets that have a number of their own, and which epoll_guess() can ask for. */
static void guess_targets(struct dump *d, const struct epoll_instance *w, struct target *t, size_t n)
{
	struct epoll_guess *g = arena_array(d->arena, struct epoll_guess, n + 1);
	struct target **of = arena_array(d->arena, struct target *, n + 1);
	_cleanup_close_ int efd = -1;
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		const EventpollTfdEntry *e = t[i].e;
		bool alone = !t[i].nth && (i + 1 == n || t[i + 1].e->tfd != e->tfd);

		if (e->file_id || !alone || !epoll_can_guess(e->events) ||
		    makedev(e->dev >> 20, e->dev & 0xfffff) == w->sockets ||
		    !epoll_fd_at(w->task->fds, w->task->n_fds, e->tfd))
			continue;
		of[k] = &t[i];
		g[k++] = (struct epoll_guess) { .number = (int)e->tfd, .events = e->events, .data = e->data };
	}
	if (k < GUESSES_MIN)
		return;
	efd = epoll_ours(w);
	if (efd >= 0)
		epoll_guess(efd, w->task->dump->pidfd, g, k);
	for (size_t i = 0; i < k; i++)
		of[i]->same = g[i].right;
}

dev_t epoll_device_of_sockets(void)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stat st;

	return fd < 0 || fstat(fd, &st) ? 0 : st.st_dev; /* 0: no file has it, kcmp is asked for all */
}

/*
 * Whether to look at the kernel's memory, which takes some 15 ms once for a dump: for many that kcmp(2) would have to
 * be asked for, and for edges some of which were seen.
 */
static bool is_view_wanted(const struct epoll_instance *w, const struct target *t, size_t n)
{
	size_t hard = 0;

	for (size_t i = 0; i < n; i++) {
		const EventpollTfdEntry *e = t[i].e;

		if (!w->m->quiet && (e->events & ((uint32_t)EPOLLET | EPOLLONESHOT)) == (uint32_t)EPOLLET)
			return true;
		hard +=
		    makedev(e->dev >> 20, e->dev & 0xfffff) != w->sockets && (t[i].nth || !epoll_can_guess(e->events));
	}
	return hard >= GUESSES_MIN;
}

/* What the kernel's memory tells of each, in the order of fdinfo. What it does not tell is looked for as without it. */
static void view_targets(struct dump *d, const struct epoll_instance *w, const struct target *t, size_t n)
{
	struct epoll_view_target *seen;
	_cleanup_close_ int efd = -1;
	size_t k;

	if (!is_view_wanted(w, t, n))
		return;
	efd = epoll_ours(w);
	if (efd < 0 || epoll_view_targets(d, efd, &seen, &k) || k != n)
		return;
	for (size_t i = 0; i < n; i++)
		if (seen[i].tfd != w->m->tfd[i]->tfd)
			return;
	for (size_t i = 0; i < n; i++) {
		w->m->tfd[i]->file_id = seen[i].file_id;
		w->m->tfd[i]->has_quiet = w->m->tfd[i]->quiet = !seen[i].ready;
	}
}

int epoll_targets_find(struct dump *d, const struct epoll_instance *w)
{
	struct target *t = sort_targets(d, w->m);
	int err = 0;

	view_targets(d, w, t, w->m->n_tfd);
	guess_targets(d, w, t, w->m->n_tfd);
	for (size_t i = 0; !err && i < w->m->n_tfd; i++)
		err = find_target(d, w, &t[i]);
	return err;
}
