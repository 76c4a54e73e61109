/* SPDX-License-Identifier: GPL-2.0-only */
/* Root, working directory and umask: fs_struct of the kernel, which tasks share with CLONE_FS. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "files/files.h"
#include "files/foreign_restore.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/subsys.h"

static int read_umask(const struct task *t, uint32_t *umask)
{
	const struct proc_status *st = t->threads[0].dump->status;

	if (!st->has_umask)
		return log_errno(-ENODATA, "%s: no umask in /proc/%d/status", task_name(t), t->pid);
	*umask = st->umask;
	return 0;
}

static int fs_dump(struct dump *d, struct task *t)
{
	FsEntry *fs = t->fs = arena_msg(d->arena, FsEntry, fs_entry);
	const struct task *first = tree_first_fs(&d->tree, t);
	char path[64];
	int err;

	if (first != t) {
		*fs = *first->fs;
		return image_write_one(d->dir, IMG_FS, t->vpid.v, fs);
	}
	snprintf(path, sizeof(path), "/proc/%d/cwd", t->pid);
	err = files_dump_path(d, t, path, O_RDONLY, "its working directory", &fs->cwd_id);
	snprintf(path, sizeof(path), "/proc/%d/root", t->pid);
	if (!err)
		err = files_dump_path(d, t, path, O_RDONLY, "its root", &fs->root_id);
	fs->has_umask = true;
	if (!err)
		err = read_umask(t, &fs->umask);
	return err ?: image_write_one(d->dir, IMG_FS, t->vpid.v, fs);
}

/* Only a root other than ours needs a chroot, which takes privileges. */
static int same_as_our_root(int fd, bool *same)
{
	struct stat theirs, ours;

	if (fstat(fd, &theirs) || stat("/", &ours))
		return log_errno(-errno, "fstat of a task's root and stat of ours");
	*same = theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino;
	return 0;
}

static int fs_restore(struct restore *r, struct task *t)
{
	int fds[2], numbers[2], n = 2, err;
	bool same_root = false, foreign;
	struct batch *b;

	fds[0] = files_open(r, t->fs->cwd_id);
	fds[1] = files_open(r, t->fs->root_id);
	log_about("files.img, or fs-%lu.img", (unsigned long)t->vpid.v);
	if (fds[0] < 0 || fds[1] < 0)
		return log_errno(MIN(fds[0], fds[1]), "%s: opening its working directory or root", task_name(t));
	foreign = foreign_restore_is(r, t->fs->cwd_id);
	err = same_as_our_root(fds[1], &same_root);
	if (err)
		return err;
	if (same_root)
		n = 1;
	err = foreign_restore_send(r, t, fds, n, numbers);
	if (err)
		return err;
	b = agent_batch(t->restore->agent, "its working directory and root");
	if (!same_root) {
		batch_call(b, SYS_fchdir, (uint64_t)numbers[1]);
		batch_call(b, SYS_chroot, batch_string(b, "."));
	}
	batch_reserve(b, 1 + 2 * FOREIGN_BATCH_OPS, 0);
	if (foreign)
		foreign_restore_become(r, t, b);
	batch_call(b, SYS_fchdir, (uint64_t)numbers[0]);
	if (foreign)
		foreign_restore_return(r, t, b);
	if (t->fs->has_umask)
		batch_call(b, SYS_umask, t->fs->umask & 0777);
	for (int i = 0; i < n; i++)
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	return batch_run(b);
}

static int fs_create(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && tree_first_fs(&r->tree, t) == t)
			err = fs_restore(r, t);
		log_about(NULL, 0);
	}
	return err;
}

const struct subsys fs_subsys = {
	.name = "root, working directory and umask",
	.dump_task = fs_dump,
	.create = fs_create,
};
