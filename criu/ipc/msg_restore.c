/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V message queues at restore. One that is still there is used as it is, like a file; one that is gone is made
 * again with its messages.
 */
#include <string.h>
#include <sys/msg.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "helper/sysv_object.h"
#include "image/image.h"
#include "ipc-msg.pb-c.h"
#include "ipc/ipc_use.h"
#include "ipc/msg_queue.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

extern const struct subsys msg_subsys;

/* As msgsnd(2) takes a message. */
struct msg_sent {
	long type;
	char text[];
};

struct msg_back {
	struct ipc_ns *ns;
	const IpcMsgEntry *entry;
	const IpcMsg **heads;
	struct msg_sent **msgs;
	bool exists;
	struct msg_back *next;
};

struct msg_restore_state {
	struct msg_back *queues;
};

/* ---- the type ---- */

static int get_queue(key_t key, uint64_t size, int flags)
{
	return msgget(key, flags);
}

/* The kernel wants a size with the owner: its default, until the queue's own is set. */
static int set_queue(int id, const struct ipc_perm *p)
{
	struct msqid_ds ds;

	if (msgctl(id, IPC_STAT, &ds))
		return -errno;
	ds.msg_perm = *p;
	return msgctl(id, IPC_SET, &ds);
}

static int remove_queue(int id)
{
	return msgctl(id, IPC_RMID, NULL);
}

static const struct sysv_type msg_queue_type = {
	.name = "message queue",
	.noun = "message queue",
	.call = "msgget",
	.next_id = "msg_next_id",
	.remove_letter = 'q',
	.get = get_queue,
	.set = set_queue,
	.remove = remove_queue,
};

/* ---- images ---- */

static int read_message(struct restore *r, struct image *img, struct msg_back *q, size_t i)
{
	IpcMsg *head;
	int got = image_read(img, &ipc_msg__descriptor, r->arena, &head);

	if (got < 0)
		return got;
	if (!got || round_up((uint64_t)head->msize, 8) > image_left(img) || !head->mtype || head->mtype > INT64_MAX)
		return log_errno(-EBADMSG, "%s: message %zu of queue %u is cut short or impossible", image_name(img), i,
		                 q->entry->desc->id);
	q->heads[i] = head;
	q->msgs[i] = arena_alloc(r->arena, sizeof(*q->msgs[i]) + round_up((size_t)head->msize, 8));
	q->msgs[i]->type = (long)head->mtype;
	return image_read_raw(img, q->msgs[i]->text, round_up((size_t)head->msize, 8));
}

static int read_queue(struct restore *r, struct ipc_ns *ns, struct image *img, const IpcMsgEntry *e)
{
	struct msg_restore_state *all = restore_state(r, &msg_subsys);
	struct msg_back *q = arena_new_of(r->arena, struct msg_back);
	int err = 0;

	if (e->desc->id > INT32_MAX || e->qnum > image_left(img))
		return log_errno(-EBADMSG, "%s: message queue %u with %u messages is impossible", image_name(img),
		                 e->desc->id, e->qnum);
	q->ns = ns;
	q->entry = e;
	q->heads = arena_array(r->arena, const IpcMsg *, e->qnum);
	q->msgs = arena_array(r->arena, struct msg_sent *, e->qnum);
	for (size_t i = 0; !err && i < e->qnum; i++)
		err = read_message(r, img, q, i);
	q->next = all->queues;
	all->queues = q;
	return err;
}

static int read_queues(struct restore *r, struct ipc_ns *ns)
{
	struct image *img;
	IpcMsgEntry *e;
	int err = image_open(r->dir, IMG_IPCNS_MSG, ns->id, &img), more = 1;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (more = image_read(img, &ipc_msg_entry__descriptor, r->arena, &e)) > 0)
		err = read_queue(r, ns, img, e);
	image_close(img);
	return err ?: more;
}

static int msg_read_images(struct restore *r)
{
	int err = 0;

	for (struct ipc_ns *ns = ipc_ns_restored(r); !err && ns; ns = ns->next)
		err = read_queues(r, ns);
	return err;
}

/* ---- what is on this host ---- */

static bool is_of_tree(struct restore *r, pid_t pid)
{
	return ns_ids_was_of_tree(r, pid);
}

/* Whether it is the one of the dump, or one that an earlier restore of these images has left. */
static bool is_same_queue(struct restore *r, const struct msqid_ds *ds, const IpcMsgEntry *e)
{
	return sysv_object_is_like(&ds->msg_perm, e->desc) &&
	       ((e->has_ctime && ds->msg_ctime == e->ctime) || is_of_tree(r, ds->msg_lspid) ||
	        is_of_tree(r, ds->msg_lrpid));
}

static int check_queue(struct restore *r, struct msg_back *q)
{
	const IpcDescEntry *desc = q->entry->desc;
	struct msqid_ds ds;
	int err;

	if (!msgctl((int)desc->id, IPC_STAT, &ds)) {
		q->exists = is_same_queue(r, &ds, q->entry);
		return q->exists ? 0
		                 : sysv_object_refuse(&msg_queue_type, desc,
		                                      "is another one's on this host: end what uses that one and "
		                                      "remove it (ipcrm -q), or restore in a new ipc namespace");
	}
	if (errno == EACCES)
		return sysv_object_refuse(&msg_queue_type, desc,
		                          "is another one's on this host, which may not be looked at (msgctl: "
		                          "Permission denied)");
	if (errno != EINVAL && errno != EIDRM)
		return log_errno(-errno, "message queue %u: msgctl(IPC_STAT)", desc->id);
	err = sysv_object_check_missing(&msg_queue_type, desc);
	if (!err && q->entry->used_outside)
		log_warn("message queue %u (key 0x%08x) was in use by processes outside of the tree too, and is gone: "
		         "it is made with the messages of the dump, for the tree alone",
		         desc->id, desc->key);
	return err;
}

static int check_in_place(struct restore *r, struct msg_back *q)
{
	int err = ipc_ns_enter(q->ns);

	return err ?: ipc_ns_leave(q->ns, check_queue(r, q));
}

static int msg_check(struct restore *r)
{
	struct msg_restore_state *all = restore_state(r, &msg_subsys);
	int err = 0;

	for (struct msg_back *q = all->queues; q; q = q->next) {
		int part = q->ns->own ? 0 : check_in_place(r, q);

		err = err ?: part;
	}
	return err;
}

/* ---- making ---- */

struct made_queue {
	uint32_t id, key;
};

static int remove_made(const struct undo *u)
{
	const struct made_queue *made = u->data;
	struct msqid_ds ds;
	int home, err = ipc_ns_undo_enter(u->fd, &home);

	if (err)
		return err;
	if (msgctl((int)made->id, IPC_STAT, &ds))
		err = errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	else if ((uint32_t)ds.msg_perm.__key != made->key)
		err = -ENOENT;
	else if (msgctl((int)made->id, IPC_RMID, NULL))
		err = -errno;
	ipc_ns_undo_leave(u->fd, home);
	return err;
}

/* More than the kernel's default takes CAP_SYS_RESOURCE. */
static int set_size(const struct msg_back *q)
{
	struct msqid_ds ds;
	int id = (int)q->entry->desc->id;

	if (msgctl(id, IPC_STAT, &ds))
		return log_errno(-errno, "message queue %d: msgctl(IPC_STAT)", id);
	if (ds.msg_qbytes == q->entry->qbytes)
		return 0;
	ds.msg_qbytes = q->entry->qbytes;
	if (msgctl(id, IPC_SET, &ds))
		return log_errno(-errno, "message queue %d: msgctl(IPC_SET) to %u bytes: raise kernel.msgmnb", id,
		                 q->entry->qbytes);
	return 0;
}

static int send_messages(const struct msg_back *q)
{
	for (size_t i = 0; i < q->entry->qnum; i++)
		if (msgsnd((int)q->entry->desc->id, q->msgs[i], q->heads[i]->msize, IPC_NOWAIT))
			return log_errno(-errno, "message queue %u: msgsnd of message %zu, %u bytes%s",
			                 q->entry->desc->id, i, q->heads[i]->msize,
			                 errno == EINVAL ? ": raise kernel.msgmax" : "");
	return 0;
}

static int note_made(struct restore *r, const struct msg_back *q)
{
	const struct made_queue made = { q->entry->desc->id, q->entry->desc->key };
	const struct undo undo = { .type = UNDO_CALL,
		                   .call = remove_made,
		                   .fd = ipc_ns_undo_fd(q->ns),
		                   .data = &made,
		                   .data_len = sizeof(made) };

	return guardian_note(r->guardian, &undo);
}

/* In a namespace of the tree's own: that vanishes, if the restore fails. */
static int make_queue(struct restore *r, const struct msg_back *q)
{
	int err = q->ns->own ? 0 : note_made(r, q);

	err = err < 0 ? err : sysv_object_create(q->ns, &msg_queue_type, q->entry->desc, 0, 0);
	fault_point("message queue made");
	return err ?: set_size(q) ?: send_messages(q);
}

static int msg_before_start(struct restore *r)
{
	struct msg_restore_state *all = restore_state(r, &msg_subsys);
	int err = 0;

	for (struct msg_back *q = all->queues; !err && q; q = q->next) {
		if (q->exists)
			continue;
		err = ipc_ns_enter(q->ns);
		if (!err)
			err = ipc_ns_leave(q->ns, make_queue(r, q));
	}
	return err;
}

/* ---- the last processes ---- */

static long unused_type(const struct msg_back *q)
{
	long type = LONG_MAX;

	for (size_t i = 0; i < q->entry->qnum; i++)
		if (q->msgs[i]->type == type) {
			type--;
			i = (size_t)-1; /* all of them again */
		}
	return type;
}

static bool has_agent(const struct task *t)
{
	return t && t->restore && t->restore->agent;
}

/* For a zombie: a later restore knows the queue by any process. In the same namespace. */
static const struct task *living(struct restore *r, const struct msg_back *q, uint32_t pid)
{
	const struct task *t = ipc_ns_find_task(q->ns, &r->tree, pid);

	if (!has_agent(t) && pid && tree_find(&r->tree, (vpid_t) { (int32_t)pid }))
		t = q->ns->task;
	return has_agent(t) ? t : NULL;
}

/* The last sender sends an empty message, and the last receiver takes that one: then the kernel knows both again. */
static int touch_by_last(struct restore *r, const struct msg_back *q)
{
	const struct task *sender = living(r, q, q->entry->lspid), *receiver = living(r, q, q->entry->lrpid);
	long type = unused_type(q);
	uint32_t id = q->entry->desc->id;
	struct batch *b;
	int err, op;

	if (!sender && !receiver)
		return 0;
	b = agent_batch((sender ?: receiver)->restore->agent, "a message queue that it had used");
	batch_reserve(b, 1, 32);
	op = batch_ask(b, SYS_msgsnd, id, batch_data(b, &type, sizeof(type)), 0, IPC_NOWAIT);
	err = batch_run(b);
	if (err || batch_ret(b, op) < 0)
		return err; /* full */
	b = agent_batch((receiver ?: sender)->restore->agent, "a message queue that it had used");
	batch_reserve(b, 1, 32);
	batch_call(b, SYS_msgrcv, id, batch_data(b, &type, sizeof(type)), 0, (uint64_t)type, IPC_NOWAIT);
	return batch_run(b);
}

static int msg_settle(struct restore *r)
{
	struct msg_restore_state *all = restore_state(r, &msg_subsys);
	int err = 0;

	for (struct msg_back *q = all->queues; !err && q; q = q->next)
		if (!q->exists)
			err = touch_by_last(r, q);
	return err;
}

const struct subsys msg_subsys = {
	.name = "message queues",
	.state = { .dump = sizeof(struct msg_dump_state), .restore = sizeof(struct msg_restore_state) },
	.collect = msg_dump_collect,
	.write_images = msg_dump_write,
	.read_images = msg_read_images,
	.check = msg_check,
	.before_start = msg_before_start,
	.settle = msg_settle,
};
