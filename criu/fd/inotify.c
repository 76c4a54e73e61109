/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * inotify: which inodes are watched, for what, under which numbers. Events that were not read yet are lost: an event
 * can only be made again by what it tells of, on the very inode, which others watch too (a watch of that number on
 * another inode leaves an IN_IGNORED behind). A restored program is told by inotify's own sign of lost events,
 * IN_Q_OVERFLOW.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "files/files.h"
#include "lib/log.h"
#include "path/watched.h"
#include "proc/proc.h"
#include "fsnotify.pb-c.h"
#include "uapi/inotify_bits.h"

extern const struct fd_kind inotify_kind;

/* What a user asks for, of all that the kernel keeps in a mask. */
#define USER_MASK (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK)

struct inotify_instance {
	InotifyFileEntry *m;
	struct inotify_instance *next;
};

struct inotify_dump {
	struct inotify_instance *first;
	struct watched_inodes inodes;
};

static bool inotify_match(const struct fd_info *info)
{
	return !strcmp(info->link, "anon_inode:inotify");
}

/* "inotify wd:1 ino:9e7e sdev:800013 mask:800afce ignored_mask:0 fhandle-bytes:8 fhandle-type:1
 * f_handle:7e9e0000640d1b6d" */
static int parse_watch(struct dump *d, const char *line, size_t len, InotifyWdEntry *e)
{
	unsigned wd, s_dev, mask, ignored;
	unsigned long long ino;
	char copy[160];

	snprintf(copy, sizeof(copy), "%.*s", (int)MIN(len, sizeof(copy) - 1), line);
	if (sscanf(copy, "inotify wd:%x ino:%llx sdev:%x mask:%x ignored_mask:%x", &wd, &ino, &s_dev, &mask,
	           &ignored) != 5 ||
	    wd > INT_MAX)
		return -EBADMSG;
	e->wd = wd;
	e->i_ino = ino;
	e->s_dev = s_dev;
	e->mask = mask;
	e->ignored_mask = ignored;
	e->f_handle = fhandle_parse(d->arena, line, len);
	return e->f_handle ? 0 : -EBADMSG;
}

static void note_watch(struct dump *d, const struct fd_info *info, InotifyWdEntry *e)
{
	struct watched_inode w = {
		.task = info->task, .s_dev = e->s_dev, .ino = e->i_ino, .fh = e->f_handle, .file_id = &e->file_id
	};

	w.name = arena_printf(d->arena, "%s: inotify: watch %u", fd_name(info), e->wd);
	watched_add(d, &((struct inotify_dump *)dump_state(d, &inotify_kind))->inodes, &w);
}

static int inotify_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct inotify_dump *s = dump_state(d, &inotify_kind);
	struct inotify_instance *w = arena_new_of(d->arena, struct inotify_instance);
	InotifyFileEntry *m = msg;
	int bytes = 0;

	for (const char *line = info->info, *end; *line; line = *end ? end + 1 : end) {
		InotifyWdEntry *e;

		end = strchrnul(line, '\n');
		if (strncmp(line, "inotify ", 8))
			continue;
		e = arena_msg(d->arena, InotifyWdEntry, inotify_wd_entry);
		e->id = m->id;
		if (parse_watch(d, line, (size_t)(end - line), e))
			return log_errno(-EBADMSG, "%s: inotify: unknown line in its fdinfo: %.*s", fd_name(info),
			                 (int)MIN(end - line, 200), line);
		arena_push(d->arena, &m->wd, &m->n_wd, e);
		note_watch(d, info, e);
	}
	if (!ioctl(info->fd, FIONREAD, &bytes) && bytes) {
		log_warn("%s: inotify: %d bytes of events were not read yet; they are lost in a restore, which says so "
		         "by IN_Q_OVERFLOW",
		         fd_name(info), bytes);
		m->has_unread = true;
		m->unread = (uint32_t)bytes;
	}
	w->m = m;
	w->next = s->first;
	s->first = w;
	return DUMP_LATER;
}

static int inotify_collected(struct dump *d)
{
	struct inotify_dump *s = dump_state(d, &inotify_kind);
	int err = watched_find(d, &s->inodes);

	for (struct inotify_instance *w = s->first; w && !err; w = w->next) {
		for (size_t i = 0; i < w->m->n_wd; i++)
			w->m->wd[i]->has_file_id = w->m->wd[i]->file_id != 0;
		err = files_write_entry(d, &inotify_kind, w->m->id, w->m);
	}
	return err;
}

/* ---- restore ---- */

static int inotify_check(struct restore *r, const void *msg, const char **why)
{
	const InotifyFileEntry *m = msg;
	int err = 0;

	for (size_t i = 0; i < m->n_wd && !err; i++) {
		const InotifyWdEntry *e = m->wd[i];

		if (e->wd < 1 || e->wd > INT_MAX) {
			*why = arena_printf(r->arena, "inotify: a watch cannot have the number %u", e->wd);
			return -EINVAL;
		}
		err = watched_check(r, e->s_dev, e->f_handle, e->has_file_id ? e->file_id : 0, why);
	}
	watched_close_mounts(r);
	return err;
}

static int inotify_open(struct restore *r, const void *msg)
{
	const InotifyFileEntry *m = msg;
	int fd = inotify_init1(IN_CLOEXEC | (m->flags & IN_NONBLOCK));

	return fd < 0 ? log_errno(-errno, "inotify_init1 (limited by fs.inotify.max_user_instances)") : fd;
}

static int by_watch_number(const void *a, const void *b)
{
	const InotifyWdEntry *x = *(InotifyWdEntry *const *)a, *y = *(InotifyWdEntry *const *)b;

	return (x->wd > y->wd) - (x->wd < y->wd);
}

/* The kernel gives numbers in a circle; INOTIFY_IOC_SETNEXTWD sets the next. */
static int add_watch(struct restore *r, int fd, const InotifyWdEntry *e)
{
	_cleanup_close_ int target = watched_open(r, e->s_dev, e->f_handle, e->has_file_id ? e->file_id : 0);
	const char *name = e->f_handle->path ?: "a file known by its handle";
	char path[40];
	int wd;

	if (target < 0)
		return log_errno(target, "inotify watch %u: opening %s", e->wd, name);
	if (ioctl(fd, INOTIFY_IOC_SETNEXTWD, e->wd))
		return log_errno(-errno, "inotify watch %u: INOTIFY_IOC_SETNEXTWD", e->wd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", target);
	wd = inotify_add_watch(fd, path, e->mask & USER_MASK);
	if (wd < 0)
		return log_errno(-errno,
		                 "inotify watch %u: inotify_add_watch of %s (limited by fs.inotify.max_user_watches)",
		                 e->wd, name);
	if ((uint32_t)wd != e->wd)
		return log_errno(-EEXIST, "inotify watch %u: %s is watched as number %d already", e->wd, name, wd);
	return 0;
}

#define EVENTS_MAX (1UL << 20) /* that are made for one IN_Q_OVERFLOW, at most: a second */

/* More events than the queue takes, each unlike the one before. */
static int make_events(int memfd, size_t n)
{
	_cleanup_close_ int fd = -1;
	char path[40], byte = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	for (size_t i = 0; fd >= 0 && i < n; i++)
		if ((i % 2 ? pread(fd, &byte, 1, 0) : pwrite(fd, &byte, 1, 0)) != 1)
			return -EIO;
	return fd < 0 ? -errno : 0;
}

/* All but the last event, which is the one that says that others were lost. */
static int leave_last(int fd)
{
	char buf[16384];
	int bytes = 0;

	for (;;) {
		if (ioctl(fd, FIONREAD, &bytes))
			return -errno;
		if ((size_t)bytes <= sizeof(struct inotify_event))
			return bytes ? 0 : -ENODATA;
		if (read(fd, buf, MIN(sizeof(buf), (size_t)bytes - sizeof(struct inotify_event))) <= 0)
			return -errno;
	}
}

/* An instance without watches: a queue that is full of events of a file of criu's own. */
static int overflow_queue(int fd)
{
	_cleanup_close_ int memfd = memfd_create("inotify", MFD_CLOEXEC);
	_cleanup_free_ char *limit = NULL;
	char path[40];
	size_t max;
	int wd, err = proc_read(AT_FDCWD, "/proc/sys/fs/inotify/max_queued_events", &limit, NULL);

	max = err ? 0 : strtoul(limit, NULL, 10);
	if (err || memfd < 0 || !max || max > EVENTS_MAX)
		return err ?: memfd < 0 ? -errno : -E2BIG;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", memfd);
	wd = inotify_add_watch(fd, path, IN_MODIFY | IN_ACCESS);
	if (wd < 0)
		return -errno;
	err = make_events(memfd, max + 2);
	inotify_rm_watch(fd, wd);
	return err ?: leave_last(fd);
}

static int inotify_post_open(struct restore *r, const void *msg, int fd)
{
	const InotifyFileEntry *m = msg;
	InotifyWdEntry **sorted = arena_memdup(r->arena, m->wd, m->n_wd * sizeof(*m->wd));
	int err = m->unread ? overflow_queue(fd) : 0;

	if (err)
		log_warn("inotify instance %u: the program cannot be told by IN_Q_OVERFLOW that events were lost: %s",
		         m->id, strerror(-err));
	err = 0;
	if (m->n_wd)
		qsort(sorted, m->n_wd, sizeof(*sorted), by_watch_number);
	for (size_t i = 0; i < m->n_wd && !err; i++)
		err = add_watch(r, fd, sorted[i]);
	watched_close_mounts(r);
	return err;
}

const struct fd_kind inotify_kind = {
	.name = "inotify",
	.state = { .dump = sizeof(struct inotify_dump) },
	.type = FD_TYPES__INOTIFY,
	.field = 13,
	.pb = &inotify_file_entry__descriptor,
	.match = inotify_match,
	.dump = inotify_dump,
	.all_collected = inotify_collected,
	.check = inotify_check,
	.open = inotify_open,
	.post_open = inotify_post_open,
};
