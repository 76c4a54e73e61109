/* SPDX-License-Identifier: GPL-2.0-only */
/* Processes outside of the tree that hold a file lock: the same one at dump, one that conflicts at restore. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "proc/fdinfo.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/lock_holders.h"

/* ---- dump: the same open file outside ---- */

/* Descriptors of one process by the text of their links: only with equal ones can it be the same open file. */
struct their_fd {
	char *link;
	int number;
	struct their_fd *next; /* with the same link */
	UT_hash_handle hh;
};

struct outsider {
	pid_t pid;
	char comm[16];
	struct their_fd *fds;
	struct outsider *next;
};

static void read_their_fds(struct arena *a, struct outsider *o)
{
	_cleanup_close_ int proc_fd = proc_open(o->pid);
	int *numbers = NULL;
	size_t n = 0;

	if (proc_fd < 0 || proc_read_fd_numbers(proc_fd, a, &numbers, &n))
		return; /* the process is gone, or criu may not look at it */
	for (size_t i = 0; i < n; i++) {
		struct their_fd *fd = arena_new_of(a, struct their_fd), *same;
		char path[32], link[PATH_MAX];
		ssize_t len;

		snprintf(path, sizeof(path), "fd/%d", numbers[i]);
		len = readlinkat(proc_fd, path, link, sizeof(link) - 1);
		if (len <= 0 || link[0] != '/')
			continue;
		link[len] = 0;
		fd->number = numbers[i];
		HASH_FIND_STR(o->fds, link, same);
		if (same) {
			fd->next = same->next;
			same->next = fd;
			continue;
		}
		fd->link = arena_strdup(a, link);
		HASH_ADD_KEYPTR_IN(a, hh, o->fds, fd->link, len, fd);
	}
}

static const struct outsider *outsider_of(struct arena *a, struct outsiders *all, pid_t pid)
{
	struct outsider *o = all->first;

	while (o && o->pid != pid)
		o = o->next;
	if (o)
		return o;
	o = arena_new_of(a, struct outsider);
	o->pid = pid;
	o->next = all->first;
	all->first = o;
	if (proc_comm(pid, o->comm, sizeof(o->comm)) < 0)
		o->comm[0] = 0;
	else
		read_their_fds(a, o);
	return o;
}

static bool warn_if_shared(const struct outsider *o, const struct file_locked *l)
{
	struct their_fd *fd;

	HASH_FIND_STR(o->fds, l->link, fd);
	for (; fd; fd = fd->next) {
		if (syscall(SYS_kcmp, l->task->pid, o->pid, KCMP_FILE, l->number, fd->number))
			continue;
		log_warn("%s: fd %d: %s: its lock is also held through pid %d (%s), fd %d, outside of the tree: while "
		         "that is open, the lock stays taken, also for a restore",
		         task_name(l->task), l->number, l->link, o->pid, o->comm, fd->number);
		return true;
	}
	return false;
}

void lock_holders_warn(struct dump *d, struct outsiders *o, const struct file_locked *l, pid_t taker)
{
	pid_t parent = proc_ppid(task_id(d->tree.tasks[0]));

	if (parent > 0 && warn_if_shared(outsider_of(d->arena, o, parent), l))
		return;
	if (taker > 0 && taker != parent)
		warn_if_shared(outsider_of(d->arena, o, taker), l);
}

/* ---- restore: holders of conflicting locks ---- */

const char *lock_holders_text(const FileLockEntry *e, char *buf, size_t size)
{
	const char *type = e->type == F_WRLCK ? "write" : e->type & LOCK_TYPE_BREAKING ? "broken" : "read";

	if (e->flag == LOCK_FLOCK)
		snprintf(buf, size, "the %s flock", e->type == F_WRLCK ? "exclusive" : "shared");
	else if (e->flag == LOCK_LEASE)
		snprintf(buf, size, "the %s lease", type);
	else if (e->len)
		snprintf(buf, size, "the %s %s lock on bytes %" PRId64 " to %" PRId64,
		         e->flag == LOCK_OFD ? "OFD" : "POSIX", type, e->start, e->start + e->len - 1);
	else
		snprintf(buf, size, "the %s %s lock on bytes from %" PRId64 " on",
		         e->flag == LOCK_OFD ? "OFD" : "POSIX", type, e->start);
	return buf;
}

static pid_t range_holder(int fd, const FileLockEntry *e)
{
	struct flock range = { .l_type = (short)e->type, .l_start = e->start, .l_len = e->len };

	if (fcntl(fd, F_GETLK, &range) || range.l_type == F_UNLCK)
		return 0;
	return range.l_pid;
}

/* flock(2) has no call that asks for the holder: the list of all locks tells. */
static pid_t flock_holder(const struct stat *st)
{
	_cleanup_free_ char *text = NULL;

	if (proc_read(AT_FDCWD, "/proc/locks", &text, NULL))
		return 0;
	for (const char *at = text; at && *at; at = proc_next_line(at)) {
		struct lock_line line;

		if (!lockline_parse(at, &line) && line.kind == LOCK_FLOCK && line.ino == st->st_ino &&
		    makedev(line.dev_major, line.dev_minor) == st->st_dev)
			return line.pid;
	}
	return 0;
}

/* "pid 812 (redis) holds it", as far as that can be found out. */
static void name_holder(int fd, const FileLockEntry *e, char *buf, size_t size)
{
	char comm[16];
	struct stat st;
	pid_t pid = 0;

	if (e->flag == LOCK_LEASE) {
		snprintf(buf, size, "another process has the file open");
		return;
	}
	if (fd >= 0 && e->flag == LOCK_FLOCK && !fstat(fd, &st))
		pid = flock_holder(&st);
	else if (fd >= 0 && e->flag != LOCK_FLOCK)
		pid = range_holder(fd, e);
	if (pid > 0 && proc_comm(pid, comm, sizeof(comm)) >= 0)
		snprintf(buf, size, "pid %d (%s) holds it", pid, comm);
	else if (pid > 0)
		snprintf(buf, size, "pid %d holds it, or another process with the same open file", pid);
	else
		snprintf(buf, size, "%s holds it", pid < 0 ? "an open file (OFD lock)" : "an unknown process");
}

int lock_holders_refused(const struct task *t, const FileLockEntry *e, int err)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	_cleanup_close_ int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, e->fd, 0);
	char path[64], link[PATH_MAX], lock[96], holder[96];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, e->fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = 0;
	lock_holders_text(e, lock, sizeof(lock));
	if (err != -EAGAIN && err != -EACCES)
		return log_errno(err, "%s: fd %d: %s: taking %s", task_name(t), e->fd, link, lock);
	name_holder(fd, e, holder, sizeof(holder));
	return log_errno(err, "%s: fd %d: %s: %s cannot be taken: %s", task_name(t), e->fd, link, lock, holder);
}
