/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: where the file system of a mount comes from, and which mounts have the same. */
#include <sched.h>
#include <string.h>

#include "lib/log.h"
#include "mnt/mnt.h"
#include "mnt/mnt_bound.h"
#include "mnt/mnt_own.h"
#include "options/external.h"
#include "proc/ns_type.h"
#include "tree/ns_ids.h"
#include "tree/user_ns_image.h"

struct source {
	const struct fs_kind *kind;
	const char *device;                /* --external dev[NAME]:PATH */
	const char *path;                  /* external, or --root */
	const char *host_path, *host_root; /* as criu saw it at the dump */
	bool by_plugin;
	const struct ns_type *bound; /* with the number in the entry */
};

const struct mount_at *mnt_own_find(const MntEntry *e, const struct own_mount *wanted, const struct mount_at *own,
                                    size_t n)
{
	const struct mount_at *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(own[i].path, wanted->path) || (wanted->root && strcmp(own[i].root, wanted->root)) ||
		    (wanted->only_shared && !own[i].shared) || (wanted->only_alone && own[i].shared))
			continue;
		if (own[i].s_dev == e->root_dev)
			return &own[i];
		if (!e->fsname || !strcmp(e->fsname, own[i].type))
			found = &own[i];
	}
	return found;
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static bool is_from(const struct super *s, const MntEntry *e, const struct source *from)
{
	if (s->by_plugin || from->by_plugin) /* the plugin is asked for each */
		return false;
	if (s->bound != from->bound || (s->bound && s->first->ns_id != e->ns_id))
		return false;
	if (s->dev != e->root_dev || s->kind != from->kind || !is_same(s->path, from->path))
		return false;
	return s->kind || s->path ||
	       (is_same(s->first->host_path, from->host_path) && is_same(s->first->host_root, from->host_root));
}

/* Without a number: CRIU's; it is the root task's. 0: the one that criu was in at the dump. */
static uint32_t pid_ns_of(struct restore *r, const MntEntry *e)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWPID);
	uint32_t of_root = ns_ids_own(r, r->tree.tasks[0], type);

	if (!e->has_pid_ns_id)
		return of_root;
	for (size_t i = 0; i < r->tree.n_tasks; i++)
		if (ns_ids_own(r, r->tree.tasks[i], type) == e->pid_ns_id)
			return e->pid_ns_id;
	return 0;
}

/* The first task in the mount namespace, if its other namespace is the tree's own. */
static const struct task *maker_of(struct restore *r, uint32_t mnt_ns, const struct ns_type *type)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids && t->ids->mnt_ns_id == mnt_ns)
			return ns_ids_own(r, t, type) ? t : NULL;
	}
	return NULL;
}

static struct super *find_super(struct restore *r, const struct mnt_ns *ns, const MntEntry *e,
                                const struct source *from)
{
	struct mnt_restore *all = mnt_of(r);
	struct super *s = all->supers;
	const struct user_ns *owner = user_ns_owner(r, ns->id);

	while (s && !is_from(s, e, from))
		s = s->next;
	if (owner && e->locked) /* it got it from the one around */
		owner = owner->parent;
	if (s && s->owner && s->owner != owner && user_ns_is_in(s->owner, owner))
		s->owner = owner;
	if (s)
		return s;
	s = arena_new_of(r->arena, struct super);
	*s = (struct super) { .dev = e->root_dev, .first = e, .fd = -1, .spare = -1, .ns_fd = -1, .next = all->supers };
	s->kind = from->kind;
	s->device = from->device;
	if (s->kind && s->kind->shows_pids)
		s->pid_ns = pid_ns_of(r, e);
	if (s->kind && !s->kind->shows_pids && !s->kind->belongs && !s->device && !from->bound)
		s->owner = owner;
	if (s->kind && s->kind->belongs)
		s->maker = maker_of(r, ns->id, ns_type_of_flag(s->kind->belongs));
	s->path = from->path;
	s->by_plugin = from->by_plugin;
	s->bound = from->bound;
	s->root = from->bound ? e->root : from->path || from->by_plugin ? e->root : from->kind ? "/" : from->host_root;
	all->supers = s;
	return s;
}

static const MntEntry *root_entry(const struct mnt *m)
{
	while (m->up)
		m = m->up;
	return m->e;
}

/* A part of the file system that the root is of, below what is mounted there: --root has it too. */
static bool is_below_root(const struct mnt *m, const MntEntry *root)
{
	return m->e->root_dev == root->root_dev && mountinfo_below(m->e->root, root->root);
}

static int refuse_source(const struct mnt *m)
{
	const MntEntry *e = m->e;

	if (!m->up)
		return log_refusal(-ENOENT, "mountpoints-%u.img: give --root DIR: the root of the tree was %s of %s",
		                   m->ns->id, e->root, e->source);
	return log_refusal(-ENOTSUP,
	                   "mountpoints-%u.img: mount %s (%s, type %u %s) cannot be made anew; give "
	                   "--external 'mnt[%s]:PATH'",
	                   m->ns->id, e->mountpoint, e->source, e->fstype, e->fsname ?: "",
	                   e->ext_mount && e->ext_key ? e->ext_key : e->mountpoint);
}

static bool is_on_device(const MntEntry *e)
{
	return e->fstype == FSTYPE__AUTO && e->fsname && *e->fsname && !strncmp(e->source, "dev[", 4);
}

static int refuse_device(const struct mnt *m)
{
	return log_refusal(-ENOENT,
	                   "mountpoints-%u.img: mount %s: of a %s on a device that the dump was told the name of; give "
	                   "--external '%s:DEVICE'",
	                   m->ns->id, m->e->mountpoint, m->e->fsname, m->e->source);
}

int mnt_find_super(struct restore *r, struct mnt *m)
{
	const MntEntry *e = m->e, *root = root_entry(m);
	struct source from = { 0 };

	from.path = external_mount(r->opts, e->ext_mount && e->ext_key ? e->ext_key : e->mountpoint);
	if (from.path && !*from.path)
		from.path = NULL;
	m->given = from.path;
	if (!from.path && r->opts->root && is_below_root(m, root)) {
		from.path = r->opts->root;
		e = root;
	}
	if (!from.path && e->with_plugin) {
		int err = mnt_plugin_check(r, m->ns->id, e);

		if (err)
			return err;
		from.by_plugin = true;
	} else if (!from.path && (e->ext_mount || e->host_path)) {
		from.host_path = e->host_path;
		from.host_root = e->host_root;
		if (!e->host_path || !e->host_root)
			return refuse_source(m);
	} else if (!from.path && is_on_device(e)) {
		from.kind = &fs_kind_on_device;
		from.device = external_value(r->opts, e->source);
		if (!from.device)
			return refuse_device(m);
	} else if (!from.path) {
		from.kind = fs_kind_of(e);
		if (!from.kind || (from.kind == &mnt_nsfs && !e->has_ns_id))
			return refuse_source(m);
		from.bound = from.kind == &mnt_nsfs ? ns_type_of_flag(e->ns_type) : NULL;
		if (from.kind == &mnt_nsfs && mnt_bound_check(r, m))
			return -EINVAL;
	}
	m->super = find_super(r, m->ns, e, &from);
	return 0;
}
