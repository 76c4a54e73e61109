/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The status of a queue shows whom and how, not the value that comes with the signal: that is read in the kernel's
 * memory (lib/kernel_view.h). The process registers again by itself, through any of its descriptors of the queue.
 */
#include "ipc/mqueue_notify.h"

#include <signal.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "arch/arch_abi.h"
#include "files/files.h"
#include "lib/kernel_view.h"
#include "lib/log.h"

/* ---- dump ---- */

static int refuse_notify(const struct fd_info *info, const struct mqueue_told *told, const char *why)
{
	log_refusal(-ENOTSUP,
	            "%s: process %d is to be notified of the next message in the message queue %s (mq_notify), %s; "
	            "mq_notify(fd, NULL) before the dump",
	            fd_name(info), told->pid, info->link, why);
	return DUMP_REFUSED;
}

/* struct sigevent, as far as it is asked for. */
struct event {
	uint64_t value;
	int32_t signo, notify;
};

static int read_event(int fd, struct event *ev)
{
	struct kernel_view *v;
	const char *call;
	int err = kernel_view_open(&v, &call), hop, at, from;
	struct kernel_way way;

	if (err)
		return err;
	hop = btf_offset(kernel_types(v), "file", "f_inode");
	at = btf_offset(kernel_types(v), "mqueue_inode_info", "notify");
	from = btf_offset(kernel_types(v), "mqueue_inode_info", "vfs_inode");
	way = (struct kernel_way) { .hops = { hop }, .n = 1, .last = at - from };
	err = hop < 0 || at < 0 || from < 0 ? -ENOENT : kernel_read_of_file(v, fd, &way, ev, sizeof(*ev));
	kernel_view_close(v);
	return err;
}

static const struct task *task_of_pid(const struct dump *d, pid_t pid)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (task_id(d->tree.tasks[i]) == pid)
			return d->tree.tasks[i];
	return NULL;
}

int mqueue_notify_dump(struct dump *d, const struct fd_info *info, int fd, const struct mqueue_told *told,
                       MqueueEntry *m)
{
	const struct task *t = told->pid ? task_of_pid(d, told->pid) : NULL;
	struct event ev = { 0 };

	if (!t)
		return 0;
	if (told->notify != SIGEV_NONE && told->notify != SIGEV_SIGNAL)
		return refuse_notify(info, told, "by a thread (SIGEV_THREAD), which is not supported");
	/* They would be taken out and put back, and the first would be told of. */
	if (m->curmsgs)
		return refuse_notify(info, told, "and messages wait in it; let them be received, or");
	if (told->notify == SIGEV_SIGNAL &&
	    (read_event(fd, &ev) || ev.signo != told->signo || ev.notify != told->notify))
		return refuse_notify(info, told, "and the kernel does not show what it wants to be told");
	m->has_notify_pid = m->has_notify = m->has_notify_signo = m->has_notify_value = true;
	m->notify_pid = (uint32_t)t->vpid.v;
	m->notify = (uint32_t)told->notify;
	m->notify_signo = (uint32_t)told->signo;
	m->notify_value = ev.value;
	return 0;
}

/* ---- restore ---- */

static const FdinfoEntry *find_descriptor(struct restore *r, const struct task *t, uint32_t queue)
{
	for (size_t i = 0; i < t->n_fds; i++) {
		const struct fd_kind *kind = NULL;
		const MqueueEntry *m = files_message(r, t->fds[i]->id, &kind);

		if (m && kind && kind->pb == &mqueue_entry__descriptor && m->queue == queue)
			return t->fds[i];
	}
	return NULL;
}

int mqueue_notify_restore(struct restore *r, const MqueueEntry *m)
{
	struct arch_sigevent ev = { .value = m->notify_value,
		                    .signo = (int32_t)m->notify_signo,
		                    .notify = (int32_t)m->notify };
	struct task *t = m->has_notify_pid ? tree_find(&r->tree, VPID((pid_t)m->notify_pid)) : NULL;
	const FdinfoEntry *e;
	struct batch *b;

	if (!m->has_notify_pid)
		return 0;
	e = t && t->state != TASK_DEAD ? find_descriptor(r, t, m->queue) : NULL;
	if (!e)
		return log_errno(-EINVAL,
		                 "message queue %s: image error: process %u is to be notified, and has it not open",
		                 m->name, m->notify_pid);
	b = agent_batch(t->restore->agent, "mq_notify");
	batch_call(b, SYS_mq_notify, e->fd, batch_data(b, &ev, sizeof(ev)));
	return batch_run(b);
}
