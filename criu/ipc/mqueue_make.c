/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * POSIX message queues at restore. One that is still there, with no fewer messages than at the dump, is used as it is,
 * like a file. One that is gone is made before the first process, with owner, mode and messages.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/mqueue.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "tree/subsys.h"

extern const struct subsys mqueue_subsys;

struct mqueue_back {
	struct ipc_ns *ns;        /* NULL: criu's */
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

static bool is_damaged(const MqueueEntry *m)
{
	return m->name[0] != '/' || strchr(m->name + 1, '/') || !m->maxmsg || !m->msgsize || m->maxmsg > INT32_MAX ||
	       m->msgsize > INT32_MAX || (m->n_messages && m->n_messages != m->curmsgs);
}

static struct ipc_ns *find_ns(struct restore *r, const MqueueEntry *m)
{
	struct ipc_ns *ns = m->has_ipc_ns ? ipc_ns_restored(r) : NULL;

	while (ns && (ns->id != m->ipc_ns || !ns->elsewhere))
		ns = ns->next;
	return ns;
}

static bool is_own(const struct mqueue_back *q)
{
	return q->ns && q->ns->own;
}

static int enter_ns(struct ipc_ns *ns)
{
	return ns ? ipc_ns_enter(ns) : 0;
}

static int leave_ns(struct ipc_ns *ns, int err)
{
	return ns ? ipc_ns_leave(ns, err) : err;
}

static int look_in_place(struct restore *r, struct mqueue_back *q, const char **why)
{
	int err = enter_ns(q->ns);

	if (err)
		*why = "its ipc namespace cannot be entered";
	return err ?: leave_ns(q->ns, look_at_host(r, q, why));
}

int mqueue_expect(struct restore *r, const MqueueEntry *m, const char **why)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	struct mqueue_back *q = find_queue(r, m->queue);
	struct ipc_ns *ns = find_ns(r, m);

	if (is_damaged(m) || (m->has_ipc_ns && !ns) || (q && q->ns != ns)) {
		*why = arena_printf(r->arena, "message queue %s: the image is damaged", m->name);
		return -EBADMSG;
	}
	if (q) {
		q->entry = m->n_messages ? m : q->entry;
		return 0;
	}
	q = arena_new_of(r->arena, struct mqueue_back);
	q->ns = ns;
	q->entry = m;
	q->fd = -1;
	q->next = all->queues;
	all->queues = q;
	return is_own(q) ? 0 : look_in_place(r, q, why);
}

int mqueue_open_named(struct restore *r, const MqueueEntry *m, int flags)
{
	struct ipc_ns *ns = find_ns(r, m);
	int err = enter_ns(ns), fd;

	if (err)
		return err;
	fd = mq_open(m->name, flags);
	if (fd < 0)
		err = log_errno(-errno, "message queue %s: mq_open", m->name);
	return leave_ns(ns, err) ?: fd;
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
static int remove_named(const char *name, const struct made_queue *made)
{
	_cleanup_close_ int fd = mq_open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct mq_attr attr;

	if (fd < 0 || mq_getattr(fd, &attr))
		return -errno;
	if (attr.mq_maxmsg != made->maxmsg || attr.mq_msgsize != made->msgsize)
		return -ENOENT;
	return mq_unlink(name) ? -errno : 0;
}

static int remove_made(const struct undo *u)
{
	int home, err = ipc_ns_undo_enter(u->fd, &home);

	if (err)
		return err;
	err = remove_named(u->path, u->data);
	ipc_ns_undo_leave(u->fd, home);
	return err;
}

/* As they are where the queue is made. */
static bool has_ids(const struct mqueue_back *q, uint32_t *uid, uint32_t *gid)
{
	if (ipc_ns_id_inside(q->ns, USER_ID, q->entry->uid, uid) &&
	    ipc_ns_id_inside(q->ns, GROUP_ID, q->entry->gid, gid))
		return true;
	errno = EPERM;
	return false;
}

static int fill_made(const struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;

	uint32_t uid, gid;

	if (!has_ids(q, &uid, &gid) || fchown(q->fd, uid, gid) || fchmod(q->fd, m->mode))
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

static int note_made(struct restore *r, const struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;
	const struct made_queue made = { m->maxmsg, m->msgsize };
	const struct undo undo = { .type = UNDO_CALL,
		                   .call = remove_made,
		                   .fd = q->ns ? ipc_ns_undo_fd(q->ns) : -1,
		                   .path = m->name,
		                   .data = &made,
		                   .data_len = sizeof(made) };

	return guardian_note(r->guardian, &undo);
}

/* A user namespace may have no number for criu's own ids: nothing can be made by such a one there. */
static int open_new(const struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;
	struct mq_attr attr = { .mq_maxmsg = m->maxmsg, .mq_msgsize = m->msgsize };
	bool own = is_own(q);
	uint32_t uid, gid;
	int fd;

	if (!has_ids(q, &uid, &gid))
		return -errno;
	if (own) {
		syscall(SYS_setfsgid, gid);
		syscall(SYS_setfsuid, uid);
	}
	fd = mq_open(m->name, O_RDWR | O_NONBLOCK | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
	fd = fd < 0 ? -errno : fd;
	if (own) {
		syscall(SYS_setfsuid, syscall(SYS_geteuid));
		syscall(SYS_setfsgid, syscall(SYS_getegid));
	}
	return fd;
}

/* In a namespace of the tree's own: that vanishes, if the restore fails. */
static int make_queue(struct restore *r, struct mqueue_back *q)
{
	const MqueueEntry *m = q->entry;
	int number = is_own(q) ? 0 : note_made(r, q), err;

	if (number < 0)
		return number;
	q->fd = open_new(q);
	err = q->fd;
	fault_point("POSIX message queue made");
	if (q->fd >= 0)
		return fill_made(q);
	if (!is_own(q))
		guardian_drop(r->guardian, number);
	return log_errno(err, "message queue %s: mq_open for %u messages of %u bytes%s", m->name, m->maxmsg, m->msgsize,
	                 err == -EINVAL   ? ": raise fs.mqueue.msg_max and fs.mqueue.msgsize_max"
	                 : err == -EMFILE ? ": raise RLIMIT_MSGQUEUE (ulimit -q)"
	                 : err == -ENOSPC ? ": raise fs.mqueue.queues_max"
	                                  : "");
}

static int find_or_make(struct restore *r, struct mqueue_back *q)
{
	if (!q->exists)
		return make_queue(r, q);
	q->fd = mq_open(q->entry->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return q->fd < 0 ? log_errno(-errno, "message queue %s: mq_open", q->entry->name) : 0;
}

static int mqueue_before_start(struct restore *r)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	int err = 0;

	for (struct mqueue_back *q = all->queues; !err && q; q = q->next) {
		err = enter_ns(q->ns);
		if (!err)
			err = leave_ns(q->ns, find_or_make(r, q));
	}
	return err;
}

static int remove_name(const struct mqueue_back *q)
{
	int err = enter_ns(q->ns);

	if (err)
		return err;
	if (mq_unlink(q->entry->name))
		err = log_errno(-errno, "message queue %s: mq_unlink", q->entry->name);
	return leave_ns(q->ns, err);
}

static int mqueue_all_standing(struct restore *r)
{
	struct mqueue_restore_state *all = restore_state(r, &mqueue_subsys);
	int err = 0;

	for (struct mqueue_back *q = all->queues; !err && q; q = q->next) {
		if (q->entry->unlinked)
			err = remove_name(q);
		close(q->fd);
		q->fd = -1;
	}
	return err;
}

const struct subsys mqueue_subsys = {
	.name = "POSIX message queues of a restore",
	.state = { .restore = sizeof(struct mqueue_restore_state) },
	.check = mqueue_own_read,
	.before_start = mqueue_before_start,
	.all_standing = mqueue_all_standing,
};
