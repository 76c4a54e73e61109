/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Time namespaces (time_namespaces(7)) of which a tree has several: the dump. tree/time_ns.h has that of the root task.
 *
 * A task is in one and has its children born in another as long as it has called unshare(2) and nothing since; every
 * other way leads into both. So such a namespace is made by its task, and those in which its children are born by criu.
 */
#include "ns/time.h"

#include <fcntl.h>
#include <sched.h>

#include "helper/ns_enter.h"
#include "lib/log.h"
#include "proc/timens.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"
#include "tree/time_ns.h"

/* ---- both ---- */

uint32_t time_ns_of_root(const struct tree *tree)
{
	const TaskKobjIdsEntry *ids = tree->n_tasks ? tree->tasks[0]->ids : NULL;

	return ids ? ids->time_ns_id : 0;
}

uint32_t time_ns_of_task(const struct tree *tree, const struct task *t)
{
	return t->ids && t->ids->time_ns_id ? t->ids->time_ns_id : time_ns_of_root(tree);
}

static bool makes(const struct task *t, uint32_t id)
{
	return t->state != TASK_DEAD && t->ids && t->ids->has_time_ns_for_children_id &&
	       t->ids->time_ns_for_children_id == id;
}

struct task *time_ns_maker(const struct tree *tree, uint32_t id)
{
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (makes(tree->tasks[i], id))
			return tree->tasks[i];
	return NULL;
}

static bool is_below(const struct task *t, const struct task *above)
{
	while (t && t != above)
		t = t->parent;
	return t == above;
}

static bool shares_memory(const struct tree *tree, const struct task *t)
{
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *other = tree->tasks[i];

		if (other != t && other->state != TASK_DEAD && other->ids && other->ids->vm_id == t->ids->vm_id)
			return true;
	}
	return false;
}

static int check_member(const struct tree *tree, const struct task *t)
{
	const struct task *maker = time_ns_maker(tree, time_ns_of_task(tree, t));

	if (!maker || is_below(t, maker) || !shares_memory(tree, t))
		return 0;
	return log_refusal(
	    -ENOTSUP,
	    "%s: is in the time namespace that %s has made for its children, and shares its memory with "
	    "another process (vfork): a process cannot enter one so (setns: EUSERS); end one of them before the dump",
	    task_name(t), task_name(maker));
}

static bool any_maker(const struct tree *tree)
{
	for (size_t i = 0; i < tree->n_tasks; i++)
		if (tree->tasks[i]->ids && tree->tasks[i]->ids->has_time_ns_for_children_id)
			return true;
	return false;
}

int time_ns_check_tree(const struct tree *tree)
{
	int err = 0, part;

	if (!any_maker(tree)) /* of most trees: no task is compared with all others */
		return 0;
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i], *maker;
		uint32_t id = t->ids && t->ids->has_time_ns_for_children_id ? t->ids->time_ns_for_children_id : 0;

		if (t->state == TASK_DEAD || !t->ids)
			continue;
		maker = id ? time_ns_maker(tree, id) : NULL;
		part = check_member(tree, t);
		if (id && (maker != t || id == time_ns_of_root(tree)))
			part =
			    log_refusal(-ENOTSUP,
			                "%s: its children are to be in the time namespace of %s, in which it is "
			                "not itself: only one process can be so, which made it; end it before the "
			                "dump",
			                task_name(t), id == time_ns_of_root(tree) ? "the root task" : task_name(maker));
		err = err ?: part;
	}
	return err;
}

/* ---- dump ---- */

struct seen_time {
	uint32_t id;
	struct timens_offsets o;
};

struct seen_times {
	struct seen_time *v;
	size_t n;
};

extern const struct subsys time_ns_dump_subsys;
extern const struct ns_kind time_ns_kind;

static bool shows(const struct task *t, uint64_t ino, bool own)
{
	uint64_t its = 0, childrens = 0;

	return t->state != TASK_DEAD && !timens_inode_childrens(t->pid, &childrens) && childrens == ino &&
	       (!own || (!timens_inode(t->pid, &its) && its == ino));
}

/* Where no task of the tree is in it with its children: whoever enters sees it, and what is in use is not changed. */
static int look_inside(const struct dump *d, const struct ns *ns, struct timens_offsets *o)
{
	_cleanup_close_ int fd = ns->fd >= 0 ? fcntl(ns->fd, F_DUPFD_CLOEXEC, 0) : -1;
	char path[64];

	for (size_t i = 0; fd < 0 && i < d->tree.n_tasks; i++) {
		uint64_t ino;

		if (d->tree.tasks[i]->state == TASK_DEAD || timens_inode(d->tree.tasks[i]->pid, &ino) || ino != ns->ino)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/ns/time", d->tree.tasks[i]->pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return log_errno(-ESRCH, "time namespace %llu: no process of the tree shows it",
		                 (unsigned long long)ns->ino);
	return ns_enter_time_offsets(fd, o);
}

/* One that is made and empty may be written still, and is not to be entered. */
static int look_at_offsets(const struct dump *d, const struct ns *ns, struct timens_offsets *o)
{
	for (int own = 1; own >= 0; own--) {
		for (size_t i = 0; i < d->tree.n_tasks; i++) {
			const struct task *t = d->tree.tasks[i];
			int err;

			if (!shows(t, ns->ino, own))
				continue;
			err = timens_read_childrens(t->pid, o);
			return err ? log_errno(err, "%s: reading its timens_offsets", task_name(t)) : 0;
		}
	}
	return look_inside(d, ns, o);
}

static int look_at_root(struct dump *d, const struct ns *ns)
{
	const struct task *root = d->tree.tasks[0];
	struct timens_offsets o;
	int err = timens_read(root->pid, &o);

	if (err != -EOPNOTSUPP)
		return 0; /* told of where it is written */
	err = look_at_offsets(d, ns, &o);
	if (!err)
		time_ns_note_root(d, &o);
	return err;
}

static int look_at_one(struct dump *d, const struct ns *ns)
{
	struct seen_times *all = dump_state(d, &time_ns_dump_subsys);
	struct seen_time one = { .id = ns->id };
	int err;

	if (ns->external || ns->type->flag != CLONE_NEWTIME || !ns->ino)
		return 0;
	if (ns->id == time_ns_of_root(&d->tree))
		return look_at_root(d, ns);
	err = look_at_offsets(d, ns, &one.o);
	arena_push(d->arena, &all->v, &all->n, one);
	inventory_only_ours(d);
	return err;
}

static int time_ns_collect(struct dump *d)
{
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++)
		err = look_at_one(d, &ids->all[i]);
	return err;
}

static uint32_t owner_of(struct dump *d, uint32_t id)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].id == id)
			return ids->all[i].owner;
	return 0;
}

static bool is_external(struct dump *d, uint32_t id)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].id == id)
			return ids->all[i].external;
	return false;
}

/* A task makes it before it enters its user namespace, or right afterwards. */
static int time_ns_foresee(struct dump *d)
{
	uint32_t born_in = owner_of(d, d->tree.tasks[0]->ids->pid_ns_id);
	int err = time_ns_check_tree(&d->tree), part;

	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		uint32_t id = t->ids && t->ids->has_time_ns_for_children_id ? t->ids->time_ns_for_children_id : 0;

		if (id && is_external(d, id))
			part =
			    log_refusal(-ENOTSUP,
			                "%s: its children are to be in an external time namespace, in which it is not "
			                "itself: only one that it makes can be so; leave --external out",
			                task_name(t));
		else if (!id || owner_of(d, id) == born_in || owner_of(d, id) == t->ids->user_ns_id)
			continue;
		else
			part = log_refusal(
			    -ENOTSUP,
			    "%s: the time namespace of its children belongs to a user namespace that it was in "
			    "and has left: end it before the dump, or dump the processes in there by themselves",
			    task_name(t));
		err = err ?: part;
	}
	return err;
}

static int time_ns_write_images(struct dump *d)
{
	const struct seen_times *all = dump_state(d, &time_ns_dump_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = time_ns_write_other(d, all->v[i].id, &all->v[i].o);
	return err;
}

const struct ns_kind time_ns_kind = { .flag = CLONE_NEWTIME, .apart = true };

const struct subsys time_ns_dump_subsys = {
	.name = "time namespaces, saved",
	.state = { .dump = sizeof(struct seen_times) },
	.collect = time_ns_collect,
	.foresee = time_ns_foresee,
	.write_images = time_ns_write_images,
};
