/* SPDX-License-Identifier: GPL-2.0-only */
/* Before a restore starts anything: is every file there? What is not is named with everybody who wants it. */
#include "files/file_store.h"
#include "format.h"
#include "lib/log.h"

/* vma_entry.status: private and shared mappings of files, whose shmid is the file's id. */

/* Asks the row once for each file. */
static const char *problem_of(struct restore *r, struct file_desc *fd)
{
	if (!fd->checked && fd->given < 0 && fd->kind && fd->kind->check && fd->kind->check(r, fd->msg, &fd->why) &&
	    !fd->why)
		fd->why = "cannot be opened";
	fd->checked = true;
	return fd->why;
}

static int check_path(struct restore *r, const struct task *t, uint64_t id, const char *what, uint64_t at)
{
	struct file_desc *fd = id <= UINT32_MAX ? file_desc_of(r, id) : NULL;

	if (!fd)
		return log_errno(-EINVAL, "%s: %s: files.img has no file %llu", task_name(t), what,
		                 (unsigned long long)id);
	if (!fd->kind) {
		log_refusal(-ENOTSUP, "%s: %s: file %u is of a kind (type %d) that is not supported yet", task_name(t),
		            what, fd->id, fd->type);
		return 0;
	}
	if (!problem_of(r, fd) || fd->told == t) /* one mapping of a missing library stands for its others */
		return 0;
	fd->told = t;
	if (at)
		log_refusal(0, "%s: %s at %llx: %s", task_name(t), what, (unsigned long long)at, fd->why);
	else
		log_refusal(0, "%s: %s: %s", task_name(t), what, fd->why);
	return 0;
}

static int check_task(struct restore *r, const struct task *t)
{
	const MmEntry *mm = tree_first_vm(&r->tree, t) == t ? t->mm : NULL;
	size_t n_fds = tree_first_files(&r->tree, t) == t ? t->n_fds : 0;
	int err = 0;

	for (size_t i = 0; i < n_fds; i++) {
		struct file_desc *fd = file_desc_of(r, t->fds[i]->id);

		if (problem_of(r, fd))
			log_refusal(0, "%s: fd %u: %s", task_name(t), t->fds[i]->fd, fd->why);
	}
	if (mm)
		err = check_path(r, t, mm->exe_file_id, "its executable", 0);
	for (size_t i = 0; mm && !err && i < mm->n_vmas; i++)
		if (mm->vmas[i]->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED))
			err = check_path(r, t, mm->vmas[i]->shmid, "its mapping", mm->vmas[i]->start);
	if (!err && t->fs)
		err = check_path(r, t, t->fs->cwd_id, "its working directory", 0);
	if (!err && t->fs)
		err = check_path(r, t, t->fs->root_id, "its root", 0);
	return err;
}

int files_check(struct restore *r)
{
	unsigned before = log_refusals();
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->state != TASK_DEAD)
			err = check_task(r, r->tree.tasks[i]);
	for (struct file_desc *fd = file_store_of(r)->by_id; fd; fd = fd->hh.next)
		if (fd->held && problem_of(r, fd))
			log_refusal(0, "file %u, in flight in a socket's queue: %s", fd->id, fd->why);
	return err ?: log_refusals() > before ? -ENOENT : 0;
}
