/* SPDX-License-Identifier: GPL-2.0-only */
/* Time namespaces of which a tree has several: made at restore, and entered. */
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/batch.h"
#include "helper/ns_enter.h"
#include "lib/log.h"
#include "ns/ns.h"
#include "ns/time.h"
#include "proc/timens.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/ns_made.h"
#include "tree/subsys.h"
#include "tree/time_ns.h"
#include "tree/user_ns_image.h"

struct time_made {
	uint32_t id;
	TimensEntry *image;
	struct task *maker; /* whose children are born in it; NULL: criu makes it */
	bool late;          /* it makes it in its user namespace, when it has created its children */
	int fd;             /* -1: not made yet */
	/* While it is made: the offsets, and the file that takes them. */
	struct timens_offsets o;
	int file;
};

struct times_made {
	struct time_made *v;
	size_t n;
};

extern const struct subsys time_ns_make_subsys;

static struct time_made *find_time(struct restore *r, uint32_t id)
{
	struct times_made *all = restore_state(r, &time_ns_make_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].id == id)
			return &all->v[i];
	return NULL;
}

/* ---- images ---- */

static int read_time(struct restore *r, uint32_t id)
{
	struct times_made *all = restore_state(r, &time_ns_make_subsys);
	struct time_made one = { .id = id, .fd = -1, .file = -1 };
	int given = ns_given_fd(r, ns_type_of_flag(CLONE_NEWTIME), id), err;

	if (!id || find_time(r, id) || (given < 0 && id == time_ns_of_root(&r->tree)))
		return 0;
	one.maker = time_ns_maker(&r->tree, id);
	if (given >= 0 && one.maker)
		return log_refusal(-EINVAL, "time namespace %u, which is given, is one of children", id);
	if (given >= 0) {
		one.fd = fcntl(given, F_DUPFD_CLOEXEC, 3);
		arena_push(r->arena, &all->v, &all->n, one);
		return one.fd < 0 ? log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a time namespace") : 0;
	}
	err = image_read_one(r->dir, IMG_TIMENS, id, r->arena, &one.image);
	if (err == -ENOENT)
		return log_errno(err, "a task or a descriptor is in time namespace %u, of which there is no image", id);
	if (!err)
		arena_push(r->arena, &all->v, &all->n, one);
	return err;
}

static int read_times(struct restore *r)
{
	const InventoryEntry *inv = r->inventory;
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->ids && t->state != TASK_DEAD)
			err =
			    read_time(r, time_ns_of_task(&r->tree, t)) ?: read_time(r, t->ids->time_ns_for_children_id);
	}
	for (size_t i = 0; !err && inv && i < inv->n_held_ns; i++)
		if (inv->held_ns[i]->type == CLONE_NEWTIME)
			err = read_time(r, inv->held_ns[i]->id);
	return err;
}

/* Where the root task is born in a user namespace, agents have no rights in those around it. */
static int check_owner(struct restore *r, struct time_made *m)
{
	const struct user_ns *owner = user_ns_owner(r, m->id);
	const struct user_ns *born_in =
	    ns_root_is_born_inside(r) ? user_ns_owner(r, r->tree.tasks[0]->ids->pid_ns_id) : NULL;

	m->late = m->maker && owner && owner->id == m->maker->ids->user_ns_id && owner != born_in;
	if (m->maker ? m->late || owner == born_in : user_ns_is_in(owner, born_in))
		return 0;
	return log_refusal(-ENOTSUP,
	                   "timens-%u.img: the namespace belongs to user namespace %u, and processes of the tree are "
	                   "born in %u, from which it cannot be %s",
	                   m->id, owner ? owner->id : 0, born_in ? born_in->id : 0, m->maker ? "made" : "entered");
}

static int check_times(struct restore *r)
{
	struct times_made *all = restore_state(r, &time_ns_make_subsys);
	int err = time_ns_check_tree(&r->tree), part;

	for (size_t i = 0; i < all->n; i++) {
		if (!all->v[i].image)
			continue;
		part = time_ns_check_image(all->v[i].image, all->v[i].id) ?: check_owner(r, &all->v[i]);
		err = err ?: part;
	}
	return err;
}

/* ---- those that criu makes ---- */

/* Before a user namespace is entered, in which the helper's own files are root's. */
static int open_offsets(void *arg)
{
	struct time_made *m = arg;

	m->file = timens_open(0);
	return m->file < 0 ? log_errno(m->file, "open of /proc/self/timens_offsets") : 0;
}

static int write_offsets(void *arg)
{
	struct time_made *m = arg;
	int err = timens_write(m->file, &m->o);

	return err ? log_errno(err, "time namespace %u: write of timens_offsets", m->id) : 0;
}

static int note_time(struct restore *r, struct time_made *m)
{
	if (m->file >= 0)
		close(m->file);
	m->file = -1;
	if (m->fd >= 0)
		ns_made_note(r, ns_type_of_flag(CLONE_NEWTIME), m->id, m->fd);
	return MIN(m->fd, 0);
}

static int make_time(struct restore *r, struct time_made *m)
{
	const struct user_ns *owner = user_ns_owner(r, m->id);
	int err = time_ns_offsets(r, m->image, &m->o);

	if (err)
		return log_errno(err, "reading criu's own timens_offsets");
	m->fd = ns_enter_make(ns_type_of_flag(CLONE_NEWTIME), owner ? owner->fd : -1, open_offsets, write_offsets, m);
	return note_time(r, m);
}

static int make_times(struct restore *r)
{
	struct times_made *all = restore_state(r, &time_ns_make_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		if (all->v[i].fd >= 0)
			err = note_time(r, &all->v[i]);
		else
			err = all->v[i].maker ? 0 : make_time(r, &all->v[i]);
	return err;
}

/* ---- tasks ---- */

/* A task is born where its creator's children are, which may be another task than its parent. */
static int enter_if_elsewhere(struct restore *r, struct task *t, int fd)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWTIME);
	uint64_t want, own, childrens;
	int err = timens_inode(t->pid, &own) ?: timens_inode_childrens(t->pid, &childrens);

	if (err)
		return log_errno(err, "%s: stat of its ns/time", task_name(t));
	err = ns_enter_inode(fd, &want);
	return err || (own == want && childrens == want) ? err : ns_enter_by_agent(r, t, type, fd);
}

/* Children of one that makes it late, and who left the tree below the task that made theirs, are there before it. */
static int enter_early_ones(struct restore *r, const struct time_made *m)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		/* A new one may not have begun: the first word of its agent would be taken for an answer. */
		if (t->state != TASK_DEAD && t->restore->agent && t != m->maker &&
		    time_ns_of_task(&r->tree, t) == m->id)
			err = agent_wait(t->restore->agent) ?: enter_if_elsewhere(r, t, m->fd);
	}
	return err;
}

static int open_childrens(const struct task *t)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/ns/time_for_children", t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

/* Nobody is in it yet: its offsets can be written. */
static int make_for_children(struct restore *r, struct task *t, struct time_made *m)
{
	struct batch *b = agent_batch(t->restore->agent, "a time namespace for its children");
	int err;

	batch_call(b, SYS_unshare, CLONE_NEWTIME);
	err = batch_run(b);
	if (err)
		return err;
	m->file = timens_open(t->pid);
	err = m->file < 0 ? m->file : time_ns_offsets(r, m->image, &m->o);
	err = err ?: timens_write(m->file, &m->o);
	if (err)
		return log_errno(err, "%s: writing its timens_offsets", task_name(t));
	m->fd = open_childrens(t);
	return note_time(r, m) ?: enter_early_ones(r, m);
}

/* NULL: its children are born where it is. */
static struct time_made *time_of_children(struct restore *r, const struct task *t)
{
	return t->ids && t->ids->has_time_ns_for_children_id ? find_time(r, t->ids->time_ns_for_children_id) : NULL;
}

static int time_born(struct restore *r, struct task *t)
{
	const struct times_made *all = restore_state(r, &time_ns_make_subsys);
	uint32_t id = time_ns_of_task(&r->tree, t);
	const struct task *root = r->tree.tasks[0];
	struct time_made *childrens = time_of_children(r, t);
	_cleanup_close_ int roots = -1;
	char path[64];
	int fd, err = 0;

	if (!all->n)
		return 0;
	if (id == time_ns_of_root(&r->tree) && t != root && !time_ns_is_given(r)) {
		snprintf(path, sizeof(path), "/proc/%d/ns/time", root->pid);
		roots = open(path, O_RDONLY | O_CLOEXEC);
		if (roots < 0)
			return log_errno(-errno, "open of %s", path);
	}
	fd = roots >= 0 ? roots : find_time(r, id) ? find_time(r, id)->fd : -1;
	err = fd >= 0 ? enter_if_elsewhere(r, t, fd) : 0;
	return err ?: childrens && !childrens->late ? make_for_children(r, t, childrens) : 0;
}

static int time_grown(struct restore *r, struct task *t)
{
	struct time_made *childrens = time_of_children(r, t);

	return childrens && childrens->late && t->state != TASK_DEAD ? make_for_children(r, t, childrens) : 0;
}

static void close_times(struct restore *r)
{
	struct times_made *all = restore_state(r, &time_ns_make_subsys);

	for (size_t i = 0; i < all->n; i++) {
		if (all->v[i].fd >= 0)
			close(all->v[i].fd);
		if (all->v[i].file >= 0)
			close(all->v[i].file);
	}
	all->n = 0;
}

extern const struct subsys time_ns_late_subsys;

const struct subsys time_ns_late_subsys = { .name = "time namespaces, made in user namespaces", .grown = time_grown };

const struct subsys time_ns_make_subsys = {
	.name = "time namespaces, made",
	.state = { .restore = sizeof(struct times_made) },
	.read_images = read_times,
	.check = check_times,
	.before_start = make_times,
	.born = time_born,
	.done = close_times,
};
