/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/types.h>
#include <string.h>

#include "format.h"
#include "lib/log.h"
#include "tree/tree_image.h"
#include "inventory.pb-c.h"

int tree_write_core(struct dump *d, const struct thread *th)
{
	return image_write_one(d->dir, IMG_CORE, (uint64_t)th->vtid.v, th->core);
}

static int write_task(struct dump *d, struct image *img, const struct task *t)
{
	PstreeEntry *e = arena_msg(d->arena, PstreeEntry, pstree_entry);
	int err;

	e->pid = t->vpid.v;
	e->ppid = t->parent ? t->parent->vpid.v : 0;
	e->pgid = t->vpgid.v;
	e->sid = t->vsid.v;
	e->n_threads = t->n_threads;
	e->threads = arena_array(d->arena, uint32_t, t->n_threads);
	for (size_t i = 0; i < t->n_threads; i++)
		e->threads[i] = t->threads[i].vtid.v;
	err = image_write(img, e);
	for (size_t i = 0; !err && i < t->n_threads; i++)
		err = tree_write_core(d, &t->threads[i]);
	return err;
}

int tree_write(struct dump *d)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_create(d->dir, IMG_PSTREE, 0, &img);

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		err = write_task(d, img, d->tree.tasks[i]);
	return err ?: image_close(move_ptr(img));
}

static int read_required(struct restore *r, enum image_type type, uint64_t id, const struct task *t, void *msgp)
{
	int err = image_read_one(r->dir, type, id, r->arena, msgp);

	if (err == -ENOENT)
		return log_errno(err,
		                 "pid %d of pstree.img: one of its images is missing (type %d, number %llu); the "
		                 "checkpoint is not whole",
		                 t->vpid.v, type, (unsigned long long)id);
	return err;
}

static int check_core(const struct thread *th)
{
	const CoreEntry *c = th->core;
	bool leader = th == th->task->threads;

	if (leader && !c->tc)
		return log_errno(-EINVAL, "core-%d.img: no tc, which a task must have", th->vtid.v);
	if (leader && c->tc->task_state == TASK_DEAD)
		return 0;
	if (leader && c->tc->task_state != TASK_ALIVE && c->tc->task_state != TASK_STOPPED)
		return log_errno(-EINVAL, "core-%d.img: task_state %u is unknown", th->vtid.v, c->tc->task_state);
	if (!c->thread_core)
		return log_errno(-EINVAL, "core-%d.img: no thread_core", th->vtid.v);
	return 0;
}

static int read_task_images(struct restore *r, struct task *t)
{
	int err = 0;

	for (size_t i = 0; !err && i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		err = read_required(r, IMG_CORE, th->vtid.v, t, &th->core);
		if (!err)
			err = check_core(th);
	}
	if (err)
		return err;
	t->state = t->threads[0].core->tc->task_state;
	snprintf(t->comm, sizeof(t->comm), "%s", t->threads[0].core->tc->comm);
	if (t->state == TASK_DEAD)
		return 0;
	err = read_required(r, IMG_IDS, t->vpid.v, t, &t->ids);
	if (!err)
		err = read_required(r, IMG_FS, t->vpid.v, t, &t->fs);
	return err;
}

/* Of tasks that share their memory the first has the image. */
static int read_mms(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i], *first;

		if (t->state == TASK_DEAD)
			continue;
		first = tree_first_vm(&r->tree, t);
		if (first != t)
			t->mm = first->mm;
		else
			err = read_required(r, IMG_MM, t->vpid.v, t, &t->mm);
	}
	return err;
}

static int add_task(struct restore *r, size_t *room, const PstreeEntry *e)
{
	struct task *t = arena_new_of(r->arena, struct task), *parent = NULL;
	size_t n = e->n_threads;

	if (!n || e->pid == 0 || e->pid > INT32_MAX || e->pgid > INT32_MAX || e->sid > INT32_MAX)
		return log_errno(-EINVAL, "pstree.img: pid %u has impossible numbers", e->pid);
	t->vpid = VPID(e->pid);
	t->vpgid = VPID(e->pgid);
	t->vsid = VPID(e->sid);
	for (size_t i = r->tree.n_tasks; e->ppid && !parent && i-- > 0;)
		if (r->tree.tasks[i]->vpid.v == (pid_t)e->ppid)
			parent = r->tree.tasks[i];
	if (!parent != !r->tree.n_tasks)
		return log_errno(-EINVAL, "pstree.img: pid %u stands before its parent %u", e->pid, e->ppid);
	t->parent = parent;
	t->n_threads = n;
	t->threads = arena_array(r->arena, struct thread, n);
	for (size_t i = 0; i < n; i++) {
		t->threads[i].task = t;
		t->threads[i].vtid = VPID(e->threads[i]);
	}
	t->threads[0].vtid = t->vpid; /* CRIU writes anything there for a zombie */
	if (parent)
		arena_push(r->arena, &parent->children, &parent->n_children, t);
	*room = r->tree.n_tasks;
	arena_push(r->arena, &r->tree.tasks, room, t);
	r->tree.n_tasks = *room;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int check_unique(struct restore *r)
{
	size_t n = 0, at = 0;
	pid_t *ids;

	for (size_t i = 0; i < r->tree.n_tasks; i++)
		n += r->tree.tasks[i]->n_threads;
	ids = arena_array(r->arena, pid_t, n);
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		for (size_t k = 0; k < r->tree.tasks[i]->n_threads; k++)
			ids[at++] = r->tree.tasks[i]->threads[k].vtid.v;
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (ids[i] <= 0 || (i && ids[i] == ids[i - 1]))
			return log_errno(-EINVAL, "pstree.img: duplicate or invalid pid %d", ids[i]);
	return 0;
}

static int read_pstree(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_PSTREE, 0, &img);
	PstreeEntry *e;
	size_t room;

	if (err)
		return err == -ENOENT ? log_errno(err, "pstree.img is missing: no checkpoint is here") : err;
	while ((err = image_read(img, &pstree_entry__descriptor, r->arena, &e)) > 0) {
		err = add_task(r, &room, e);
		if (err)
			return err;
	}
	if (!err && !r->tree.n_tasks)
		err = log_errno(-EINVAL, "pstree.img contains no task");
	return err;
}

int tree_read(struct restore *r)
{
	int err = image_read_one(r->dir, IMG_INVENTORY, 0, r->arena, &r->inventory);

	if (err == -ENOENT)
		return log_errno(err, "inventory.img is missing: there is no checkpoint in this directory (see -D)");
	if (!err && r->inventory->img_version != FORMAT_VERSION_1_1)
		err = log_errno(-EINVAL, "inventory.img: image version %u is not supported (only %d)",
		                r->inventory->img_version, FORMAT_VERSION_1_1);
	if (!err)
		err = read_pstree(r);
	if (!err)
		err = check_unique(r);
	for (size_t i = 0; !err && i < r->tree.n_tasks; i++)
		err = read_task_images(r, r->tree.tasks[i]);
	if (err)
		return err;
	tree_index(&r->tree, r->arena);
	return read_mms(r);
}
