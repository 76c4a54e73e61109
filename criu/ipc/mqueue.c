/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX message queues (mq_overview(7)): descriptors. A queue has a name and outlives its processes; its messages are
 * saved where no process outside of the tree has it open. In an ipc namespace of the tree's own all queues are the
 * tree's.
 */
#include "ipc/mqueue.h"

#include <fcntl.h>
#include <mqueue.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "files/files.h"
#include "ipc/mqueue_drain.h"
#include "ipc/mqueue_holders.h"
#include "ipc/mqueue_notify.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "uapi/mqueue.h"

#define STATUS_SIZE 80 /* what fstat(2) says of any queue: FILENT_SIZE of linux/ipc/mqueue.c */
#define DELETED     " (deleted)"

extern const struct fd_kind mqueue_kind;

struct mqueue_later {
	MqueueEntry *entry;
	struct mqueue_later *next;
};

struct mqueue_dump_state {
	struct mqueue_dumped *queues;
	struct mqueue_later *first, **end;
};

/* The size first, which has been read: few other files cost a call here. */
static bool mqueue_match(const struct fd_info *info)
{
	struct statfs fs;

	return S_ISREG(info->st.st_mode) && info->st.st_size == STATUS_SIZE && !major(info->st.st_dev) &&
	       info->fd >= 0 && !info->foreign && !info->by_path && !fstatfs(info->fd, &fs) &&
	       fs.f_type == MQUEUE_MAGIC;
}

/* ---- dump ---- */

int mqueue_read_status(const char *what, int fd, MqueueEntry *m, struct mqueue_told *told)
{
	unsigned long qsize;
	struct mq_attr attr;
	char text[128];
	ssize_t len = pread(fd, text, sizeof(text) - 1, 0);

	if (len < 0 || mq_getattr(fd, &attr))
		return log_errno(-errno, "%s: pread or mq_getattr of a message queue", what);
	text[len] = '\0';
	if (sscanf(text, "QSIZE:%lu NOTIFY:%d SIGNO:%d NOTIFY_PID:%d", &qsize, &told->notify, &told->signo,
	           &told->pid) != 4)
		return log_errno(-EINVAL, "%s: the status of a message queue is: %s", what, text);
	m->qsize = qsize;
	m->maxmsg = (uint32_t)attr.mq_maxmsg;
	m->msgsize = (uint32_t)attr.mq_msgsize;
	m->curmsgs = (uint32_t)attr.mq_curmsgs;
	return 0;
}

static void fill_entry(struct dump *d, const struct fd_info *info, MqueueEntry *m)
{
	char *link = arena_strdup(d->arena, info->link);
	size_t len = strlen(link), tail = strlen(DELETED);

	m->has_unlinked = m->unlinked = !info->st.st_nlink;
	if (m->unlinked && len > tail && !strcmp(link + len - tail, DELETED))
		link[len - tail] = '\0';
	m->name = strrchr(link, '/') ?: link;
	if (m->name != link)
		m->path = link;
	m->uid = info->st.st_uid;
	m->gid = info->st.st_gid;
	m->mode = info->st.st_mode & 07777;
	m->pos = info->pos;
	m->has_pos = m->pos;
}

/* The task's own descriptor may be for one direction, and may block. */
static int add_queue(struct dump *d, const struct fd_info *info, MqueueEntry *m)
{
	struct mqueue_dump_state *all = dump_state(d, &mqueue_kind);
	struct mqueue_dumped *q = arena_new_of(d->arena, struct mqueue_dumped);
	struct mqueue_told told;
	int err;

	q->fd = fd_flags_reopen(info->fd, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (q->fd < 0)
		return log_errno(q->fd, "%s: open of the message queue %s for reading and writing", fd_name(info),
		                 info->link);
	err = mqueue_read_status(fd_name(info), q->fd, m, &told);
	err = err ?: mqueue_notify_dump(d, info, q->fd, &told, m);
	if (err) {
		close(q->fd);
		return err;
	}
	q->ns = mqueue_own_find(d, info->st.st_dev);
	m->has_ipc_ns = q->ns != NULL;
	m->ipc_ns = q->ns ? q->ns->id : 0;
	q->dev = info->st.st_dev;
	q->ino = info->st.st_ino;
	q->entry = m;
	q->what = arena_strdup(d->arena, fd_name(info));
	q->next = all->queues;
	m->queue = q->next ? q->next->entry->queue + 1 : 1;
	all->queues = q;
	return 0;
}

static int mqueue_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct mqueue_dump_state *all = dump_state(d, &mqueue_kind);
	struct mqueue_dumped *q = all->queues;
	struct mqueue_later *later;
	MqueueEntry *m = msg;
	int err = 0;

	fill_entry(d, info, m);
	while (q && (q->dev != info->st.st_dev || q->ino != info->st.st_ino))
		q = q->next;
	if (q) {
		m->queue = q->entry->queue;
		m->has_ipc_ns = q->entry->has_ipc_ns;
		m->ipc_ns = q->entry->ipc_ns;
		m->qsize = q->entry->qsize;
		m->maxmsg = q->entry->maxmsg;
		m->msgsize = q->entry->msgsize;
		m->curmsgs = q->entry->curmsgs;
	} else {
		err = add_queue(d, info, m);
	}
	if (err)
		return err;
	later = arena_new_of(d->arena, struct mqueue_later);
	later->entry = m;
	if (!all->end)
		all->end = &all->first;
	*all->end = later;
	all->end = &later->next;
	return DUMP_LATER;
}

static int copy_messages(struct dump *d, const struct mqueue_dumped *q)
{
	MqueueEntry *m = q->entry;

	if (q->holder && q->ns && q->ns->own)
		log_refusal(
		    -EBUSY,
		    "%s: the message queue %s is in an ipc namespace of the tree's own, and process %d, which is "
		    "outside of the tree, has it open: end that first",
		    q->what, m->name, q->holder);
	else if (q->holder && m->unlinked)
		log_refusal(
		    -EBUSY,
		    "%s: the message queue %s has no name any more, and process %d, which is outside of the tree, "
		    "has it open: end that first",
		    q->what, m->name, q->holder);
	else if (!q->holder && m->qsize > IMAGE_MESSAGE_MAX / 2)
		log_refusal(-EFBIG,
		            "%s: the message queue %s has %llu bytes, more than an image can hold; let some be "
		            "received before the dump",
		            q->what, m->name, (unsigned long long)m->qsize);
	else if (!q->holder && m->curmsgs)
		return mqueue_drain_copy(d, q->fd, m);
	return 0;
}

static int mqueue_collected(struct dump *d)
{
	struct mqueue_dump_state *all = dump_state(d, &mqueue_kind);
	int err = mqueue_own_collect(d, &all->queues);

	if (err)
		return err;
	if (all->queues)
		mqueue_holders_find(d, all->queues);
	for (struct mqueue_dumped *q = all->queues; q; q = q->next) {
		if (q->holder)
			log_info(
			    "%s: process %d, outside of the tree, has the message queue %s open: its messages are left "
			    "alone",
			    q->what, q->holder, q->entry->name);
		err = err ?: copy_messages(d, q);
		close(q->fd);
		for (struct mqueue_later *l = all->first; l; l = l->next)
			if (l->entry->queue == q->entry->queue)
				l->entry->used_outside = l->entry->has_used_outside = q->holder;
	}
	for (struct mqueue_later *l = all->first; !err && l; l = l->next)
		err = files_write_entry(d, &mqueue_kind, l->entry->id, l->entry);
	return err ?: mqueue_own_write(d, all->queues);
}

/* ---- restore ---- */

static int mqueue_check(struct restore *r, const void *msg, const char **why)
{
	return mqueue_expect(r, msg, why);
}

/*
 * By its path, where that leads to the queue: a file system that was mounted for a namespace that is gone still has the
 * queues of that one.
 */
static int open_by_path(struct restore *r, const MqueueEntry *m, int flags)
{
	_cleanup_close_ int fd = m->path && !m->unlinked ? open(m->path, flags | O_CLOEXEC) : -ENOENT;

	if (fd >= 0 && m->has_ipc_ns && !mqueue_is_same(r, m, fd))
		return -ESTALE;
	if (fd == -1)
		return m->has_ipc_ns ? -ENOENT : log_errno(-errno, "open of message queue %s", m->path);
	return move_fd(&fd);
}

/* mq_open(2) always gives a descriptor that is close-on-exec; the flag itself would stay with the description. */
static int mqueue_open(struct restore *r, const void *msg)
{
	const MqueueEntry *m = msg;
	int flags = (int)(m->flags & (O_ACCMODE | O_NONBLOCK)), err;
	_cleanup_close_ int fd = open_by_path(r, m, flags);

	if (fd == -ESTALE || fd == -ENOENT) {
		if (m->path && !m->unlinked)
			log_info("message queue %s: opened by its name, not by the path %s", m->name, m->path);
		fd = mqueue_open_named(r, m, flags);
	}
	if (fd < 0)
		return fd;
	if (!mqueue_is_same(r, m, fd))
		return log_errno(-ESTALE, "message queue %s: another queue has this name now", m->path ?: m->name);
	if (m->pos && lseek(fd, (off_t)m->pos, SEEK_SET) < 0)
		return log_errno(-errno, "message queue %s: lseek", m->name);
	err = fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

static int notify_one(struct restore *r, const void *msg, void *arg)
{
	return mqueue_notify_restore(r, msg);
}

static int mqueue_settle(struct restore *r)
{
	return files_all(r, &mqueue_kind, notify_one, NULL);
}

const struct fd_kind mqueue_kind = {
	.name = "POSIX message queue",
	.state = { .dump = sizeof(struct mqueue_dump_state) },
	.type = FD_TYPES__MQUEUE,
	.field = 1000,
	.pb = &mqueue_entry__descriptor,
	.match = mqueue_match,
	.dump = mqueue_dump,
	.all_collected = mqueue_collected,
	.check = mqueue_check,
	.open = mqueue_open,
	.settle = mqueue_settle,
};
