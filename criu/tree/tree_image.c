/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/types.h>
#include <string.h>

#include "arch/arch.h"
#include "format.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/inventory.h"
#include "tree/pid_numbers.h"
#include "tree/tree_image.h"
#include "inventory.pb-c.h"

bool tree_has_dead_leader(const struct tree *tree)
{
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (tree->tasks[i]->dead_leader)
			return true;
	return false;
}

static int write_core(struct dump *d, vpid_t tid, const CoreEntry *core)
{
	return image_write_one(d->dir, IMG_CORE, (uint64_t)tid.v, core);
}

/*
 * What is the task's stands in the image of its leader, also of one that has ended: the rest of that image is of the
 * thread that stood for the leader, so that a restore can make a leader of it, but for what would be noticed when that
 * one ends.
 */
static int write_dead_leader(struct dump *d, const struct thread *th)
{
	ThreadCoreEntry thread_core = *th->core->thread_core;
	TaskCoreEntry tc = *th->core->tc;
	CoreEntry core = *th->core;
	raddr_t clear_tid = arch_core_clear_tid(&core);
	pid_t leader = th->task->dead_leader;
	_cleanup_close_ int proc = proc_open(leader);
	struct proc_stat st;
	/* The thread's own: what the process's shows is the signal that stopped it, if one has. */
	int err = proc < 0 ? proc : proc_read_stat(proc, leader, &st);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/task/%d/stat", task_name(th->task), leader, leader);
	core.tc = &tc;
	core.thread_core = &thread_core;
	arch_core_set_clear_tid(d->arena, &core, 0); /* in registers that both share */
	tc.comm = thread_core.comm = arena_strdup(d->arena, th->task->comm);
	tc.blk_sigset = ~0ULL;
	tc.has_leader_exit_code = true;
	tc.leader_exit_code = (uint32_t)st.exit_code;
	thread_core.futex_rla = thread_core.futex_rla_len = 0;
	thread_core.sas = NULL;
	thread_core.has_pdeath_sig = false;
	thread_core.pdeath_sig = 0;
	thread_core.signals_p = NULL;
	thread_core.has_seccomp_mode = thread_core.has_seccomp_filter = false;
	thread_core.rseq_entry = NULL;
	thread_core.has_sched_policy = false;
	err = write_core(d, th->task->vpid, &core);
	arch_core_set_clear_tid(d->arena, &core, clear_tid);
	return err;
}

/* The thread that stood for the leader, as the thread that it is. */
static int write_standing_in(struct dump *d, const struct thread *th)
{
	ThreadCoreEntry thread_core = *th->core->thread_core;
	CoreEntry core = *th->core;

	thread_core.has_blk_sigset = true;
	thread_core.blk_sigset = th->core->tc->blk_sigset;
	core.thread_core = &thread_core;
	core.tc = NULL;
	return write_core(d, th->vtid, &core);
}

int tree_write_core(struct dump *d, const struct thread *th)
{
	if (th->task->dead_leader && th == th->task->threads)
		return write_dead_leader(d, th) ?: write_standing_in(d, th);
	return write_core(d, th->vtid, th->core);
}

static void write_numbers(struct dump *d, PstreeEntry *e, const struct pid_numbers *p)
{
	PidNumbersEntry *n;

	if (!p)
		return;
	n = arena_msg(d->arena, PidNumbersEntry, pid_numbers_entry);
	n->pid = (uint32_t)p->vpid.v;
	n->inner = (uint32_t *)p->inner;
	n->n_inner = p->n;
	n->has_pid_ns_id = p->ns;
	n->pid_ns_id = p->ns;
	arena_push(d->arena, &e->numbers, &e->n_numbers, n);
	inventory_only_ours(d);
}

static void write_numbers_of_gone(struct dump *d, PstreeEntry *e)
{
	const struct pid_numbers *p = NULL;

	while (pid_numbers_next(&d->tree, &p))
		if (p->ns)
			write_numbers(d, e, p);
}

static int write_task(struct dump *d, struct image *img, const struct task *t)
{
	PstreeEntry *e = arena_msg(d->arena, PstreeEntry, pstree_entry);
	size_t n = 0;
	int err;

	e->pid = t->vpid.v;
	e->ppid = t->parent ? t->parent->vpid.v : 0;
	e->pgid = t->vpgid.v;
	e->sid = t->vsid.v;
	e->threads = arena_array(d->arena, uint32_t, t->n_threads + 1);
	if (t->dead_leader)
		e->threads[n++] = t->vpid.v;
	for (size_t i = 0; i < t->n_threads; i++)
		e->threads[n++] = t->threads[i].vtid.v;
	e->n_threads = n;
	write_numbers(d, e, pid_numbers_of(&d->tree, t->vpgid));
	write_numbers(d, e, pid_numbers_of(&d->tree, t->vsid));
	for (size_t i = 0; i < n; i++)
		write_numbers(d, e, pid_numbers_of(&d->tree, VPID(e->threads[i])));
	if (!t->parent)
		write_numbers_of_gone(d, e);
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
	if (leader && c->tc->has_leader_exit_code && th->task->n_threads < 2)
		return log_errno(-EINVAL, "core-%d.img: its leader has ended, and there is no other thread",
		                 th->vtid.v);
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
	t->compat = arch_core_is_compat(t->threads[0].core);
	r->tree.has_compat |= t->compat;
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

static bool is_named(const PstreeEntry *e, uint32_t pid)
{
	bool named = pid == e->pid || pid == e->pgid || pid == e->sid;

	for (size_t i = 0; i < e->n_threads; i++)
		named |= pid == e->threads[i];
	return named;
}

static int read_numbers(struct restore *r, const PstreeEntry *e)
{
	for (size_t i = 0; i < e->n_numbers; i++) {
		const PidNumbersEntry *n = e->numbers[i];
		bool good = n->pid && (n->pid_ns_id || is_named(e, n->pid)) && n->n_inner && n->n_inner < PID_DEPTH_MAX;

		for (size_t k = 0; good && k < n->n_inner; k++)
			good = n->inner[k] && n->inner[k] <= INT32_MAX;
		if (!good)
			return log_errno(-EINVAL, "pstree.img: pid %u has impossible numbers in nested namespaces",
			                 e->pid);
		pid_numbers_add_gone(&r->tree, r->arena, VPID(n->pid), (const pid_t *)n->inner, n->n_inner,
		                     n->pid_ns_id);
	}
	return 0;
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

	if (err == -ENOENT && r->inventory->has_pre_dump_mode)
		return log_errno(err,
		                 "pstree.img is missing: this is a pre-dump, which has memory alone; restore the dump "
		                 "that was made on top of it (--prev-images-dir)");
	if (err)
		return err == -ENOENT ? log_errno(err, "pstree.img is missing: no checkpoint is here") : err;
	while ((err = image_read(img, &pstree_entry__descriptor, r->arena, &e)) > 0) {
		err = add_task(r, &room, e) ?: read_numbers(r, e);
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
	if (!err && r->inventory->img_version != FORMAT_VERSION_1_1 && r->inventory->img_version != FORMAT_VERSION_OURS)
		err = log_errno(-EINVAL, "inventory.img: image version %u is not supported (only %d and %d)",
		                r->inventory->img_version, FORMAT_VERSION_1_1, FORMAT_VERSION_OURS);
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
