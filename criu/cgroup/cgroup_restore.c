/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tasks back into their cgroups. A task is born into the groups of the process that made it; it is moved when it has no
 * memory yet, so that what it gets is charged to its own groups. Groups in which all tasks of the tree are where criu
 * is need nothing, and are not looked at.
 */
#include <string.h>

#include "cgroup/cgroup_groups.h"
#include "cgroup/cgroup_ns.h"
#include "cgroup/cgroup_root.h"
#include "cgroup/cgroup_set.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "tree/subsys.h"

struct place_row {
	char *key; /* the hierarchy, ':' and the path */
	struct cgroup_place place;
	UT_hash_handle hh;
};

struct cgroup_restore {
	CgroupEntry *image; /* NULL: all tasks are where the caller is */
	CgSetEntry own;     /* criu's, at this restore */
	struct place_row *by_key, **places;
	size_t n_places;
	struct cgroup_groups groups;
};

extern const struct subsys cgroup_restore_subsys;

static struct cgroup_restore *cgroups_in(struct restore *r)
{
	return restore_state(r, &cgroup_restore_subsys);
}

static const char *place_key(struct arena *a, const char *name, const char *path)
{
	return arena_printf(a, "%s:%s", name, path);
}

/* ---- the images ---- */

static int cgroup_restore_read(struct restore *r)
{
	struct cgroup_restore *cg = cgroups_in(r);
	struct cgroup_mounts mounts = { 0 };
	int err;

	if (r->opts->manage_cgroups == MANAGE_CGROUPS_IGNORE)
		return 0;
	err = cgroup_root_check(r->opts);
	if (err)
		return err;
	err = image_read_one(r->dir, IMG_CGROUP, 0, r->arena, &cg->image);
	if (err == -ENOENT && r->opts->n_cgroup_roots)
		log_warn("--cgroup-root has no effect: at the dump the tree was in the same cgroups as criu");
	if (err)
		return err == -ENOENT ? 0 : err;
	for (size_t i = 0; i < cg->image->n_sets; i++)
		for (size_t k = 0; k < cg->image->sets[i]->n_ctls; k++)
			if (cg->image->sets[i]->ctls[k]->path[0] != '/' ||
			    strstr(cg->image->sets[i]->ctls[k]->path, "/.."))
				return log_errno(-EINVAL, "cgroup.img: set %u: \"%s\" is no path of a cgroup",
				                 cg->image->sets[i]->id, cg->image->sets[i]->ctls[k]->path);
	err = cgroup_groups_valid(r->arena, cg->image);
	if (!err && r->opts->n_cgroup_roots)
		err = cgroup_place_mounts(r->arena, r->opts->cgroup_yard, &mounts);
	if (!err && r->opts->n_cgroup_roots)
		cgroup_root_move(r->arena, r->opts, &mounts, cg->image);
	return err;
}

/* Where an image says that a thread was; NULL: where the caller is. -EINVAL (logged) for a set that is missing. */
static int set_of_thread(const struct restore *r, const struct cgroup_restore *cg, const struct thread *th,
                         const CgSetEntry **set)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	const TaskCoreEntry *tc = th->task->threads[0].core->tc;
	uint32_t id = core->has_cg_set ? core->cg_set : tc && tc->has_cg_set ? tc->cg_set : 0;

	*set = NULL;
	if (!id || (r->inventory->has_root_cg_set && id == r->inventory->root_cg_set))
		return 0;
	/* Most often the numbers of sets follow each other. */
	if (cg->image->n_sets && id - cg->image->sets[0]->id < cg->image->n_sets &&
	    cg->image->sets[id - cg->image->sets[0]->id]->id == id)
		*set = cg->image->sets[id - cg->image->sets[0]->id];
	for (size_t i = 0; !*set && i < cg->image->n_sets; i++)
		if (cg->image->sets[i]->id == id)
			*set = cg->image->sets[i];
	return *set ? 0
	            : log_refusal(-EINVAL, "%s: core-%d.img: cgroup.img has no set %u", task_thread_name(th),
	                          th->vtid.v, id);
}

/* Where a thread belongs in a hierarchy of this machine. */
static const char *wanted_path(const struct cgroup_restore *cg, const CgSetEntry *set, const CgMemberEntry *own)
{
	const char *path = set ? cgroup_set_path(set, own->name) : NULL;

	return path ?: own->path;
}

/* ---- before the start ---- */

static void want_place(struct restore *r, struct cgroup_restore *cg, const char *name, const char *path)
{
	const char *key = place_key(r->arena, name, path);
	struct place_row *row;

	HASH_FIND(hh, cg->by_key, key, strlen(key), row);
	if (row)
		return;
	row = arena_new_of(r->arena, struct place_row);
	row->key = arena_strdup(r->arena, key);
	row->place = (struct cgroup_place) { .name = name, .path = path };
	HASH_ADD_KEYPTR_IN(r->arena, hh, cg->by_key, row->key, strlen(key), row);
	arena_push(r->arena, &cg->places, &cg->n_places, row);
}

/* Calls fn for each living thread with its set, of which there are few. */
static int for_each_set(struct restore *r, struct cgroup_restore *cg,
                        int (*fn)(struct restore *, struct cgroup_restore *, const struct thread *, const CgSetEntry *))
{
	const CgSetEntry *set, *last = NULL;
	bool any = false;
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++) {
			int part = set_of_thread(r, cg, &t->threads[k], &set);

			if (!part && (!any || set != last))
				part = fn(r, cg, &t->threads[k], set);
			any = true;
			last = set;
			err = err ?: part;
		}
	}
	return err;
}

/* Groups other than criu's own; a hierarchy that this machine does not have. */
static int want_others(struct restore *r, struct cgroup_restore *cg, const struct thread *th, const CgSetEntry *set)
{
	int err = 0;

	for (size_t i = 0; set && i < set->n_ctls; i++) {
		const CgMemberEntry *m = set->ctls[i];
		const char *own = cgroup_set_path(&cg->own, m->name);

		if (own && strcmp(own, m->path))
			want_place(r, cg, m->name, m->path);
		if (!own && strcmp(m->path, "/"))
			err = log_refusal(-ENODEV,
			                  "%s: it was in cgroup %s of %s, and no such hierarchy exists here; "
			                  "--manage-cgroups=ignore restores without cgroups",
			                  task_thread_name(th), m->path, *m->name ? m->name : "version 2");
	}
	return err;
}

/* The roots of its cgroup namespace, where the process that makes the namespace has to be. */
static int want_roots(struct restore *r, struct cgroup_restore *cg, const struct thread *th, const CgSetEntry *set)
{
	for (size_t i = 0; set && i < set->n_ctls; i++) {
		const char *own = cgroup_set_path(&cg->own, set->ctls[i]->name);
		const char *root = cgroup_set_root(r->arena, set->ctls[i]);

		if (root && own && strcmp(root, own))
			want_place(r, cg, set->ctls[i]->name, root);
	}
	return 0;
}

static bool is_hierarchy_used(const struct cgroup_restore *cg, const char *name)
{
	for (size_t i = 0; i < cg->n_places; i++)
		if (!strcmp(cg->places[i]->place.name, name))
			return true;
	return false;
}

/* A child may have to go back to criu's own group from its parent's. */
static int want_own(struct restore *r, struct cgroup_restore *cg, const struct thread *th, const CgSetEntry *set)
{
	for (size_t i = 0; i < cg->own.n_ctls; i++) {
		const CgMemberEntry *own = cg->own.ctls[i];

		if (is_hierarchy_used(cg, own->name) && !strcmp(wanted_path(cg, set, own), own->path))
			want_place(r, cg, own->name, own->path);
	}
	return 0;
}

static int read_own_set(struct restore *r, struct cgroup_restore *cg)
{
	_cleanup_free_ char *text = NULL;
	int err = cgroup_set_read(getpid(), 0, &text);

	cg_set_entry__init(&cg->own);
	if (!err)
		err = cgroup_set_parse(r->arena, text, &cg->own);
	return err && err != -ENOENT ? log_errno(err, "reading /proc/self/cgroup") : 0;
}

/* Groups first: what they lack, their tasks lack too. */
static int cgroup_restore_check(struct restore *r)
{
	struct cgroup_restore *cg = cgroups_in(r);
	enum manage_cgroups mode = r->opts->manage_cgroups;
	bool make = mode != MANAGE_CGROUPS_NONE && mode != MANAGE_CGROUPS_PROPS;
	struct cgroup_mounts mounts = { 0 };
	int err;

	if (!cg->image)
		return 0;
	err = read_own_set(r, cg) ?: for_each_set(r, cg, want_others) ?: for_each_set(r, cg, want_roots);
	if (!err && cg->n_places)
		err = for_each_set(r, cg, want_own);
	if (!err && (cg->n_places || cgroup_groups_any(cg->image)))
		err = cgroup_place_mounts(r->arena, r->opts->cgroup_yard, &mounts);
	if (!err)
		err = cgroup_groups_check(r, cg->image, &mounts, &cg->groups);
	for (size_t i = 0; !err && i < cg->n_places; i++)
		err = cgroup_place_check(r->arena, &mounts, &cg->places[i]->place, make);
	return err;
}

/* ---- at work ---- */

static void note_thawed(struct cgroup_restore *cg, const char *directory)
{
	for (size_t i = 0; i < cg->groups.n; i++)
		if (!strcmp(cg->groups.v[i].place.directory, directory))
			cg->groups.v[i].thawed = true;
}

static int cgroup_restore_make(struct restore *r)
{
	struct cgroup_restore *cg = cgroups_in(r);
	int err = cgroup_groups_make(r, &cg->groups);

	for (size_t i = 0; !err && i < cg->n_places; i++) {
		const struct cgroup_place *p = &cg->places[i]->place;

		err = cgroup_place_make(r->arena, r->guardian, &cg->places[i]->place);
		for (size_t k = 0; k < p->n_frozen; k++)
			note_thawed(cg, p->frozen[k]);
	}
	return err;
}

static int cgroup_restore_limit(struct restore *r)
{
	return cgroup_groups_limit(r, &cgroups_in(r)->groups);
}

/* The set of a task in a namespace; NULL: none says where its roots are. */
static const CgSetEntry *set_of_namespace(struct restore *r, const struct cgroup_restore *cg, uint32_t id)
{
	const CgSetEntry *set = NULL;

	for (size_t i = 0; !set && cg->image && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids && t->ids->cgroup_ns_id == id &&
		    set_of_thread(r, cg, &t->threads[0], &set))
			return NULL;
	}
	return set;
}

/* The caller is a process of its own in criu's memory, born where criu is. */
int cgroup_ns_move_to_roots(struct restore *r, uint32_t id)
{
	struct cgroup_restore *cg = cgroups_in(r);
	const CgSetEntry *set = set_of_namespace(r, cg, id);
	int err = 0;

	if (!set)
		log_warn(
		    "cgroup namespace %u: its roots are the cgroups that criu is in, since no cgroups are restored",
		    id);
	for (size_t i = 0; set && !err && i < set->n_ctls; i++) {
		const char *root = cgroup_set_root(r->arena, set->ctls[i]);
		const char *key = root ? place_key(r->arena, set->ctls[i]->name, root) : "";
		struct place_row *row;

		HASH_FIND(hh, cg->by_key, key, strlen(key), row);
		if (row && strcmp(cgroup_set_path(&cg->own, set->ctls[i]->name), root))
			err = cgroup_place_move(&row->place, 0, false, "the process that makes a cgroup namespace");
	}
	return err;
}

/* Moves a process (or one thread) from the groups that it is in to those that it was in. */
static int move_thread(struct restore *r, const struct thread *th, bool thread)
{
	struct cgroup_restore *cg = cgroups_in(r);
	_cleanup_free_ char *text = NULL;
	const CgSetEntry *set;
	CgSetEntry now = CG_SET_ENTRY__INIT;
	int err = set_of_thread(r, cg, th, &set);

	if (!err)
		err = cgroup_set_read(th->task->pid, thread ? th->tid : 0, &text);
	if (!err)
		err = cgroup_set_parse(r->arena, text, &now);
	if (err)
		return log_errno(err, "%s: reading /proc/%d/cgroup", task_thread_name(th), th->tid);
	for (size_t i = 0; !err && i < now.n_ctls; i++) {
		const char *own = cgroup_set_path(&cg->own, now.ctls[i]->name);
		const CgMemberEntry m = { .name = now.ctls[i]->name, .path = (char *)(own ?: "/") };
		const char *path = wanted_path(cg, set, &m), *key = place_key(r->arena, m.name, path);
		struct place_row *row;

		HASH_FIND(hh, cg->by_key, key, strlen(key), row);
		if (row && strcmp(now.ctls[i]->path, path))
			err = cgroup_place_move(&row->place, th->tid, thread, task_thread_name(th));
	}
	return err;
}

static int cgroup_restore_born(struct restore *r, struct task *t)
{
	return cgroups_in(r)->n_places ? move_thread(r, &t->threads[0], false) : 0;
}

/* Threads that are in other groups than their leader: version 1, or threaded groups. */
static int cgroup_restore_threads(struct restore *r)
{
	struct cgroup_restore *cg = cgroups_in(r);
	const CgSetEntry *leaders, *set;
	int err = 0;

	for (size_t i = 0; cg->n_places && !err && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state == TASK_DEAD)
			continue;
		err = set_of_thread(r, cg, &t->threads[0], &leaders);
		for (size_t k = 1; !err && k < t->n_threads; k++) {
			err = set_of_thread(r, cg, &t->threads[k], &set);
			if (!err && set != leaders)
				err = move_thread(r, &t->threads[k], true);
		}
	}
	return err;
}

const struct subsys cgroup_restore_subsys = {
	.name = "cgroups",
	.state.restore = sizeof(struct cgroup_restore),
	.read_images = cgroup_restore_read,
	.check = cgroup_restore_check,
	.before_start = cgroup_restore_make,
	.born = cgroup_restore_born,
	.prepare = cgroup_restore_threads,
	.all_standing = cgroup_restore_limit,
};
