/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Root, working directory and umask: fs_struct of the kernel, which tasks share with CLONE_FS. A thread that has called
 * unshare(CLONE_FS) has its own, in a field of ours.
 */
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "agent/send_fds.h"
#include "files/files.h"
#include "files/foreign_restore.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/beside.h"
#include "tree/inventory.h"
#include "tree/subsys.h"
#include "tree/user_ns.h"

static int read_umask(const struct thread *th, FsEntry *fs)
{
	const struct proc_status *st = th->dump->status;

	if (!st->has_umask)
		return log_errno(-ENODATA, "%s: no umask in /proc/%d/status", task_thread_name(th), th->tid);
	fs->has_umask = true;
	fs->umask = st->umask;
	return 0;
}

static int dump_fs_of(struct dump *d, const struct thread *th, FsEntry *fs)
{
	char path[80];
	int err;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/cwd", th->task->pid, th->tid);
	err = files_dump_path(d, th->task, path, O_RDONLY, "its working directory", &fs->cwd_id);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/root", th->task->pid, th->tid);
	if (!err)
		err = files_dump_path(d, th->task, path, O_RDONLY, "its root", &fs->root_id);
	return err ?: read_umask(th, fs);
}

/* Of threads with their own. Two of them may share one: so it is of each. */
static int dump_fs_of_threads(struct dump *d, struct task *t)
{
	int err = 0;

	if (t->dump->alike & ALIKE_FS)
		return 0;
	for (size_t i = 1; !err && i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		if (syscall(SYS_kcmp, t->threads[0].tid, th->tid, KCMP_FS, 0, 0) == 0)
			continue;
		th->core->thread_core->fs = arena_msg(d->arena, FsEntry, fs_entry);
		err = dump_fs_of(d, th, th->core->thread_core->fs);
		inventory_only_ours(d);
	}
	return err;
}

static int fs_dump(struct dump *d, struct task *t)
{
	FsEntry *fs = t->fs = arena_msg(d->arena, FsEntry, fs_entry);
	const struct task *first = tree_first_fs(&d->tree, t);
	int err = 0;

	if (first != t)
		*fs = *first->fs;
	else
		err = dump_fs_of(d, &t->threads[0], fs);
	if (!err)
		err = dump_fs_of_threads(d, t);
	return err ?: image_write_one(d->dir, IMG_FS, t->vpid.v, fs);
}

/* Only a root other than that of its mount namespace needs a chroot, which takes privileges. */
static int same_as_ns_root(struct restore *r, const struct task *t, int fd, bool *same)
{
	const struct ns_root *ns = t->ids ? ns_roots_by_id(r, t->ids->mnt_ns_id) : NULL;
	struct stat theirs, ours;

	if (fstat(fd, &theirs) || (ns ? fstat(ns->at.root, &ours) : stat("/", &ours)))
		return log_errno(-errno, "fstat of a task's root and stat of its mount namespace's");
	*same = theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
	return 0;
}

/*
 * For the agent of a thread: those of a process have their descriptors in common. Nothing is waited for before they are
 * sent: criu keeps few of them open, and opens others meanwhile.
 */
static int enter_fs(struct restore *r, struct thread *th, const FsEntry *fs, bool own)
{
	struct task *t = th->task;
	int fds[2], numbers[2], n = 2, err;
	bool same_root = false, foreign;
	struct batch *b;

	fiber_hold();
	fds[0] = files_open(r, fs->cwd_id);
	fds[1] = files_open(r, fs->root_id);
	fiber_release();
	log_about("files.img, or fs-%lu.img", (unsigned long)t->vpid.v);
	if (fds[0] < 0 || fds[1] < 0)
		return log_errno(MIN(fds[0], fds[1]), "%s: opening its working directory or root",
		                 task_thread_name(th));
	foreign = foreign_restore_is(r, fs->cwd_id);
	err = same_as_ns_root(r, t, fds[1], &same_root);
	if (err)
		return err;
	if (own ? fs->root_id == t->fs->root_id : same_root)
		n = 1;
	err = foreign_restore_send(r, t, fds, n, numbers);
	if (err)
		return err;
	b = agent_batch(th->restore->agent, "its working directory and root");
	if (own)
		batch_call(b, SYS_unshare, CLONE_FS);
	if (n > 1) {
		batch_call(b, SYS_fchdir, (uint64_t)numbers[1]);
		batch_call(b, SYS_chroot, batch_string(b, "."));
	}
	batch_reserve(b, 1 + 2 * FOREIGN_BATCH_OPS, 0);
	if (foreign)
		foreign_restore_become(r, t, b);
	batch_call(b, SYS_fchdir, (uint64_t)numbers[0]);
	if (foreign)
		foreign_restore_return(r, t, b);
	if (fs->has_umask)
		batch_call(b, SYS_umask, fs->umask & 0777);
	for (int i = 0; i < n; i++)
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	return batch_run(b);
}

static int restore_fs_of(struct restore *r, struct task *t)
{
	int err = tree_first_fs(&r->tree, t) == t ? enter_fs(r, &t->threads[0], t->fs, false) : 0;

	log_about(NULL, 0);
	return err;
}

static int restore_fs_of_threads(struct restore *r, struct task *t)
{
	int err = 0;

	for (size_t i = 1; !err && i < t->n_threads; i++)
		if (t->threads[i].core->thread_core->fs)
			err = enter_fs(r, &t->threads[i], t->threads[i].core->thread_core->fs, true);
	log_about(NULL, 0);
	return err;
}

static bool enters_user_ns(struct restore *r, const struct task *t)
{
	return user_ns_of_task(user_ns_of_restore(r), t);
}

static int create_fs_of(void *arg, struct task *t)
{
	struct restore *r = arg;
	int err = enters_user_ns(r, t) ? 0 : restore_fs_of(r, t);

	return err ?: restore_fs_of_threads(r, t);
}

static int fs_create(struct restore *r)
{
	struct beside s = { .fn = create_fs_of, .arg = r };
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->state != TASK_DEAD)
			err = beside_add(&s, r->tree.tasks[i]);
	return err ?: beside_run(&s);
}

/* Before the task enters a user namespace, in which it may have no right to look up the names. */
static int fs_grown(struct restore *r, struct task *t)
{
	return t->state != TASK_DEAD && enters_user_ns(r, t) ? restore_fs_of(r, t) : 0;
}

const struct subsys fs_subsys = {
	.name = "root, working directory and umask",
	.dump_task = fs_dump,
	.grown = fs_grown,
	.create = fs_create,
};
