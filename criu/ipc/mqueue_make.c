/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX message queues at restore. One that is still there, with no fewer messages than at the dump, is used as it is,
 * like a file. One that is gone is made before the first process, with owner, mode and messages.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/mqueue.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "tree/subsys.h"

extern const struct subsys mqueue_subsys;

struct mqueue_back {
	const MqueueEntry *entry; /* that with the messages, else any */
	bool exists;
	int fd;
	struct mqueue_back *next;
};

struct mqueue_restore_state {
	struct mqueue_back *queues;
};

/* ---- what is on this host ---- */

static const char *differs(struct restore *r, const MqueueEntry *m, int fd)
{
	struct mq_attr attr;
	struct stat st;

	if (mq_getattr(fd, &attr) || fstat(fd, &st))
		return arena_printf(r->arena, "mq_getattr or fstat: %s", strerror(errno));
	if (attr.mq_maxmsg != m->maxmsg || attr.mq_msgsize != m->msgsize)
		return arena_printf(r->arena, "holds %ld messages of %ld bytes, at the dump %u of %u", attr.mq_maxmsg,
		                    attr.mq_msgsize, m->maxmsg, m->msgsize);
	if (st.st_uid != m->uid || st.st_gid != m->gid || (st.st_mode & 07777) != m->mode)
		return arena_printf(r->arena, "belongs to user %u, group %u with mode %o, at the dump %u, %u, %o",
		                    st.st_uid, st.st_gid, st.st_mode & 07777, m->uid, m->gid, m->mode);
	if (attr.mq_curmsgs < m->curmsgs)
		return arena_printf(r->arena, "has %ld messages, at the dump %u", attr.mq_curmsgs, m->curmsgs);
	return NULL;
}

/* The way out that makes sense at any rate: criu makes what is not there. */
static int look_at_existing(struct restore *r, struct mqueue_back *q, int fd, const char **why)
{
	const MqueueEntry *m = q->entry;
	const char *text =
	    m->unlinked ? "is another one with its name, which was removed before the dump" : differs(r, m, fd);

	q->exists = !text;
	if (text)
		*why = arena_printf(
		    r->arena, "the message queue %s %s: remove it (mq_unlink, or rm in a mounted mqueue)%s", m->name,
		    text, m->used_outside ? "" : ", it is made again then with the messages of the dump");
	return text ? -EEXIST : 0;
}

static int look_at_host(struct restore *r, struct mqueue_back *q, const char **why)
{
	const MqueueEntry *m = q->entry;
	_cleanup_close_ int fd = mq_open(m->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		return look_at_existing(r, q, fd, why);
	if (errno != ENOENT) {
		int err = -errno;

		*why = arena_printf(r->arena, "message queue %s: mq_open: %s", m->name, strerror(-err));
		return err;
	}
	if (!m->used_outside)
		return 0;
	*why = arena_printf(r->arena,
	                    "the message queue %s is gone, and its messages are not in the images, since processes "
	                    "outside of the tree had it open at the dump: make it again before the restore",
	                    m->name);
	return -ENOENT;
}

static struct mqueue_back *find_queue(struct restore *r, uint32_t number)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	struct mqueue_back *q = all->queues;

	while (q && q->entry->queue != number)
		q = q->next;
	return q;
}

int mqueue_expect(struct restore *r, const MqueueEntry *m, const char **why)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	struct mqueue_back *q = find_queue(r, m->queue);

	if (m->name[0] != '/' || strchr(m->name + 1, '/') || !m->maxmsg || !m->msgsize || m->maxmsg > INT32_MAX ||
	    m->msgsize > INT32_MAX || (m->n_messages && m->n_messages != m->curmsgs)) {
		*why = arena_printf(r->arena, "message queue %s: the image is damaged", m->name);
		return -EBADMSG;
	}
	if (q) {
		q->entry = m->n_messages ? m : q->entry;
		return 0;
	}
	q = arena_new_of(r->arena, struct mqueue_back);
	q->entry = m;
	q->fd = -1;
	q->next = all->queues;
	all->queues = q;
	return look_at_host(r, q, why);
}

bool mqueue_is_same(struct restore *r, const MqueueEntry *m, int fd)
{
	const struct mqueue_back *q = find_queue(r, m->queue);
	struct stat ours, st;

	return q && q->fd >= 0 && !fstat(q->fd, &ours) && !fstat(fd, &st) && ours.st_dev == st.st_dev &&
	       ours.st_ino == st.st_ino;
}

/* ---- making ---- */

struct made_queue {
	uint32_t maxmsg, msgsize;
};

/* Not one that another process has made under this name: its sizes are others. */
static int remove_made(const struct undo *u)
{
	const struct made_queue *made = u->data;
	_cleanup_close_ int fd = mq_open(u->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct mq_attr attr;

	if (fd < 0 || mq_getattr(fd, &attr))
		return -errno;
	if (attr.mq_maxmsg != made->maxmsg || attr.mq_msgsize != made->msgsize)
		return -ENOENT;
	return mq_unlink(u->path) ? -errno : 0;
}

static int fill_made(const struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;

	if (fchown(q->fd, m->uid, m->gid) || fchmod(q->fd, m->mode))
		return log_errno(-errno, "message queue %s: fchown or fchmod to user %u, group %u, mode %o", m->name,
		                 m->uid, m->gid, m->mode);
	if (m->curmsgs != m->n_messages && !m->used_outside)
		return log_errno(-EBADMSG, "message queue %s: %u messages, the images have %zu", m->name, m->curmsgs,
		                 m->n_messages);
	for (size_t i = 0; i < m->n_messages; i++) {
		const MqueueMsg *msg = m->messages[i];

		if (mq_send(q->fd, (const char *)msg->data.data, msg->data.len, msg->prio))
			return log_errno(-errno, "message queue %s: mq_send of message %zu, %zu bytes", m->name, i,
			                 msg->data.len);
	}
	return 0;
}

static int make_queue(struct restore *r, struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;
	const struct made_queue made = { m->maxmsg, m->msgsize };
	const struct undo undo = { .type = UNDO_CALL,
		                   .call = remove_made,
		                   .fd = -1,
		                   .path = m->name,
		                   .data = &made,
		                   .data_len = sizeof(made) };
	struct mq_attr attr = { .mq_maxmsg = m->maxmsg, .mq_msgsize = m->msgsize };
	int number = guardian_note(r->guardian, &undo), err;

	if (number < 0)
		return number;
	q->fd = mq_open(m->name, O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
	err = -errno;
	fault_point("POSIX message queue made");
	if (q->fd >= 0)
		return fill_made(q);
	guardian_drop(r->guardian, number);
	return log_errno(err, "message queue %s: mq_open for %u messages of %u bytes%s", m->name, m->maxmsg, m->msgsize,
	                 err == -EINVAL   ? ": raise fs.mqueue.msg_max and fs.mqueue.msgsize_max"
	                 : err == -EMFILE ? ": raise RLIMIT_MSGQUEUE (ulimit -q)"
	                 : err == -ENOSPC ? ": raise fs.mqueue.queues_max"
	                                  : "");
}

static int mqueue_before_start(struct restore *r)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	int err = 0;

	for (struct mqueue_back *q = all->queues; !err && q; q = q->next) {
		if (!q->exists) {
			err = make_queue(r, q);
			continue;
		}
		q->fd = mq_open(q->entry->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		if (q->fd < 0)
			err = log_errno(-errno, "message queue %s: mq_open", q->entry->name);
	}
	return err;
}

static int mqueue_all_standing(struct restore *r)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);

	for (struct mqueue_back *q = all->queues; q; q = q->next) {
		if (q->entry->unlinked && mq_unlink(q->entry->name))
			return log_errno(-errno, "message queue %s: mq_unlink", q->entry->name);
		close(q->fd);
		q->fd = -1;
	}
	return 0;
}

const struct subsys mqueue_subsys = {
	.name = "POSIX message queues of a restore",
	.state = { .restore = sizeof(struct mqueue_restore_state) },
	.before_start = mqueue_before_start,
	.all_standing = mqueue_all_standing,
};
