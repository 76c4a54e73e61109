/* SPDX-License-Identifier: GPL-2.0-only */
/* Before a restore starts anything: can every file be opened? One that cannot is named with all that want it. */
#include "files/net_ns.h"
#include "files/open_file.h"
#include "helper/ns_roots.h"
#include "format.h"
#include "lib/message.h"
#include "lib/log.h"

/* Older images have no number: the socket is in the tree's namespace. */
static bool is_in_tree(struct restore *r, const struct open_file *f)
{
	int64_t id;

	if (!message_get_number(f->msg, "ns_id", &id) || net_ns_is_expected(r, (uint32_t)id))
		return true;
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const TaskKobjIdsEntry *ids = r->tree.tasks[i]->ids;

		if (ids && (!ids->has_net_ns_id || ids->net_ns_id == id))
			return true;
	}
	return false;
}

/* A file of a mount namespace is looked at when that has been made: files_check() runs again then. */
static bool is_in_future(struct restore *r, const struct open_file *f)
{
	return f->msg && ns_roots_is_future(r, f->msg);
}

/* Asks the kind once for each file. */
static const char *problem_of(struct restore *r, const struct task *t, struct open_file *f)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();

	if (is_in_future(r, f)) {
		ns_roots_expect_covered(r, f->msg);
		return NULL;
	}
	lookup_in(f->msg ? ns_roots_of_message(r, f->msg) : NULL);
	open_files_of(r)->asked = f;
	f->wanted_by = f->wanted_by ?: t;
	if (!f->checked && f->inherited_fd < 0 && f->kind && f->kind->in_net_ns && !is_in_tree(r, f)) {
		f->problem = arena_printf(r->arena,
		                          "%s: is in a network namespace (number %u) that no task of the tree is in, "
		                          "which is not supported yet",
		                          f->kind->name, message_get_u32(f->msg, "ns_id"));
		f->checked = true;
	}
	if (!f->checked && f->inherited_fd < 0 && f->kind && f->kind->check && f->kind->check(r, f->msg, &f->problem) &&
	    !f->problem)
		f->problem = "cannot be opened";
	f->checked = true;
	open_files_of(r)->asked = NULL;
	return f->problem;
}

static int check_path_of(struct restore *r, const struct task *t, uint64_t id, const char *what, uint64_t at)
{
	struct open_file *f = id <= UINT32_MAX ? open_file_find(r, id) : NULL;

	if (!f)
		return log_errno(-EINVAL, "%s: %s: files.img has no file %llu", task_name(t), what,
		                 (unsigned long long)id);
	if (!f->kind) {
		log_refusal(-ENOTSUP, "%s: %s: file %u is of a kind (type %d) that is not supported yet", task_name(t),
		            what, f->id, f->type);
		return 0;
	}
	if (!f->kind->is_content)
		return log_errno(-EINVAL, "%s: %s: file %u is of kind %s, which cannot be that", task_name(t), what,
		                 f->id, f->kind->name);
	if (!problem_of(r, t, f) || f->told_of == t) /* one mapping of a missing library stands for its others */
		return 0;
	f->told_of = t;
	if (at)
		log_refusal(0, "%s: %s at %llx: %s", task_name(t), what, (unsigned long long)at, f->problem);
	else
		log_refusal(0, "%s: %s: %s", task_name(t), what, f->problem);
	return 0;
}

static int check_task_files(struct restore *r, const struct task *t)
{
	const MmEntry *mm = tree_first_vm(&r->tree, t) == t ? t->mm : NULL;
	size_t n_fds = tree_first_files(&r->tree, t) == t ? t->n_fds : 0;
	int err = 0;

	log_about("files.img, remap-fpath.img, or fdinfo-%lu.img", t->ids ? t->ids->files_id : 0);
	for (size_t i = 0; i < n_fds; i++) {
		struct open_file *f = open_file_find(r, t->fds[i]->id);

		if (problem_of(r, t, f))
			log_refusal(0, "%s: fd %u: %s", task_name(t), t->fds[i]->fd, f->problem);
	}
	log_about("files.img, or mm-%lu.img", (unsigned long)t->vpid.v);
	if (mm)
		err = check_path_of(r, t, mm->exe_file_id, "its executable", 0);
	for (size_t i = 0; mm && !err && i < mm->n_vmas; i++)
		if (mm->vmas[i]->status & (VMA_FILE_PRIVATE | VMA_FILE_SHARED)) /* shmid is the file's id */
			err = check_path_of(r, t, mm->vmas[i]->shmid, "its mapping", mm->vmas[i]->start);
	log_about("files.img, or fs-%lu.img", (unsigned long)t->vpid.v);
	for (size_t i = 0; !err && t->fs && i < t->n_threads; i++) {
		const FsEntry *fs = i ? t->threads[i].core->thread_core->fs : t->fs;

		if (fs)
			err = check_path_of(r, t, fs->cwd_id, "its working directory", 0)
			          ?: check_path_of(r, t, fs->root_id, "its root", 0);
	}
	log_about(NULL, 0);
	return err;
}

int files_check(struct restore *r)
{
	unsigned before = log_refusals();
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		if (r->tree.tasks[i]->state != TASK_DEAD)
			err = check_task_files(r, r->tree.tasks[i]);
	for (struct open_file *f = open_files_of(r)->by_id; f; f = f->hh.next)
		if (f->pinned && problem_of(r, NULL, f))
			log_refusal(0, "file %u, in flight in a socket's queue: %s", f->id, f->problem);
	return err ?: log_refusals() > before ? -ENOENT : 0;
}
