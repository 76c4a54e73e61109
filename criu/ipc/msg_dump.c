/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V message queues (msgsnd(2)) at dump: those to which a process of the tree has sent last, from which one has
 * received last, or on which a thread of it sleeps; all, in a namespace of the tree's own. Messages are copied and stay
 * where they are (MSG_COPY).
 */
#include <string.h>
#include <sys/msg.h>
#include <sys/syscall.h>

#include "helper/sysv_object.h"
#include "image/image.h"
#include "ipc-msg.pb-c.h"
#include "ipc/ipc_use.h"
#include "ipc/msg_queue.h"
#include "lib/log.h"
#include "tree/subsys.h"

#define TRIES 20 /* other processes may send and receive meanwhile */

extern const struct subsys msg_subsys;

static void note_process(struct dump *d, struct msg_queue *q, pid_t pid, int64_t when, uint32_t *image_pid)
{
	const struct task *t = tree_find_ours(&d->tree, pid);

	if (t)
		*image_pid = (uint32_t)t->vpid.v;
	else if (!q->ns->own && ipc_is_outside(&d->tree, pid, when))
		q->entry.used_outside = q->entry.has_used_outside = true;
}

static void fill_queue(struct dump *d, struct msg_queue *q, int id, const struct msqid_ds *ds)
{
	q->entry = (IpcMsgEntry)IPC_MSG_ENTRY__INIT;
	q->desc = (IpcDescEntry)IPC_DESC_ENTRY__INIT;
	q->entry.desc = &q->desc;
	sysv_object_note(q->ns, &q->desc, id, &ds->msg_perm);
	q->entry.qbytes = (uint32_t)ds->msg_qbytes;
	q->entry.has_ctime = true;
	q->entry.ctime = ds->msg_ctime;
	q->bytes = MAX(ds->__msg_cbytes, 1);
	note_process(d, q, ds->msg_lspid, ds->msg_stime, &q->entry.lspid);
	note_process(d, q, ds->msg_lrpid, ds->msg_rtime, &q->entry.lrpid);
}

static int look_at_queue(struct dump *d, struct ipc_ns *ns, const struct ipc_waiters *waiters, int id)
{
	struct msg_dump_state *all = dump_state(d, &msg_subsys);
	struct msg_queue *q = arena_new_of(d->arena, struct msg_queue);
	const struct task *waiter = ipc_waiters_on(waiters, id);
	struct msqid_ds ds;

	if (msgctl(id, IPC_STAT, &ds)) {
		if (errno == EINVAL || errno == EIDRM || (errno == EACCES && !waiter))
			return 0;
		return log_errno(-errno, "message queue %d: msgctl(IPC_STAT)", id);
	}
	q->ns = ns;
	fill_queue(d, q, id, &ds);
	if (!q->entry.lspid && !q->entry.lrpid && !waiter && !ns->own)
		return 0;
	if (!q->entry.lspid && !q->entry.lrpid && waiter)
		q->entry.lrpid = (uint32_t)waiter->vpid.v; /* a mark, by which a later restore knows the queue */
	q->entry.has_lspid = q->entry.lspid;
	q->entry.has_lrpid = q->entry.lrpid;
	q->next = all->queues;
	all->queues = q;
	return 0;
}

static int collect_queues(struct dump *d, struct ipc_ns *ns)
{
	struct ipc_waiters waiters = { 0 };
	int *ids = NULL, err;
	size_t n = 0;

	err = sysv_object_list(d->arena, "msg", &ids, &n);
	if (n)
		ipc_waiters_find(d, ns, SYS_msgrcv, SYS_msgsnd, &waiters);
	for (size_t i = 0; !err && i < n; i++)
		err = look_at_queue(d, ns, &waiters, ids[i]);
	return err;
}

int msg_dump_collect(struct dump *d)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next) {
		err = ipc_ns_enter(ns);
		if (!err)
			err = ipc_ns_leave(ns, collect_queues(d, ns));
	}
	return err;
}

/* As msgrcv(2) gives a message. */
struct msg_text {
	long type;
	char text[];
};

struct msg_copy {
	IpcMsg head;
	struct msg_text *msg;
};

static int copy_messages(struct dump *d, struct msg_queue *q, struct msg_copy **copies, size_t *n)
{
	struct msg_text *buf = arena_alloc(d->arena, sizeof(*buf) + q->bytes);
	ssize_t size = 0;

	for (*n = 0; size >= 0;) {
		size = msgrcv((int)q->desc.id, buf, q->bytes, (long)*n, MSG_COPY | IPC_NOWAIT);
		if (size >= 0) {
			struct msg_copy c = { IPC_MSG__INIT,
				              arena_memdup(d->arena, buf, round_up(sizeof(*buf) + (size_t)size, 8)) };

			c.head.mtype = (uint64_t)buf->type;
			c.head.msize = (uint32_t)size;
			arena_push(d->arena, copies, n, c);
		}
	}
	if (errno == E2BIG)
		return -EAGAIN; /* a longer one has come */
	return errno == ENOMSG ? 0
	                       : log_errno(-errno, "message queue %u: msgrcv(MSG_COPY)%s", q->desc.id,
	                                   errno == ENOSYS   ? ": this kernel lacks CONFIG_CHECKPOINT_RESTORE"
	                                   : errno == EINVAL ? ": a message is longer than kernel.msgmax is now: "
	                                                       "raise that"
	                                                     : "");
}

/* Until nothing was sent and received meanwhile. */
static int read_messages(struct dump *d, struct msg_queue *q, struct msg_copy **copies, size_t *n)
{
	struct msqid_ds before, after;

	for (int i = 0; i < TRIES; i++) {
		int err;

		if (msgctl((int)q->desc.id, IPC_STAT, &before))
			return log_errno(-errno, "message queue %u: msgctl(IPC_STAT)", q->desc.id);
		q->bytes = round_up(MAX(before.__msg_cbytes, 1), 8);
		*copies = NULL;
		err = copy_messages(d, q, copies, n);
		if (err && err != -EAGAIN)
			return err;
		if (!err && !msgctl((int)q->desc.id, IPC_STAT, &after) && after.msg_qnum == *n &&
		    before.msg_qnum == *n && before.__msg_cbytes == after.__msg_cbytes)
			return 0;
	}
	return log_errno(-EBUSY, "message queue %u: processes outside of the tree send and receive all the time",
	                 q->desc.id);
}

static int write_queue(struct dump *d, struct image *img, struct msg_queue *q)
{
	struct msg_copy *copies = NULL;
	size_t n = 0;
	int err = read_messages(d, q, &copies, &n);

	q->entry.qnum = (uint32_t)n;
	err = err ?: image_write(img, &q->entry);
	for (size_t i = 0; !err && i < n; i++)
		err = image_write(img, &copies[i].head)
		          ?: image_write_raw(img, copies[i].msg->text, round_up(copies[i].head.msize, 8));
	return err;
}

static int write_queues(struct dump *d, struct ipc_ns *ns)
{
	const struct msg_dump_state *all = dump_state(d, &msg_subsys);
	struct image *img = NULL;
	int err = 0;

	for (struct msg_queue *q = all->queues; !err && q; q = q->next) {
		if (q->ns != ns)
			continue;
		if (!img)
			err = image_create(d->dir, IMG_IPCNS_MSG, ns->id, &img);
		err = err ?: write_queue(d, img, q);
	}
	return image_close(img) ?: err;
}

int msg_dump_write(struct dump *d)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_dumped(d); !err && ns; ns = ns->next) {
		err = ipc_ns_enter(ns);
		if (!err)
			err = ipc_ns_leave(ns, write_queues(d, ns));
	}
	return err;
}
