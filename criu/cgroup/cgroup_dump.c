/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which cgroups each thread is in. Threads that are in the same ones have one set; criu's own set is number 1, and is
 * not in cgroup.img: at restore it stands for the cgroups of the caller, as in CRIU.
 */
#include <linux/sched.h>
#include <string.h>

#include "cgroup/cgroup_dirs.h"
#include "cgroup/cgroup_ns.h"
#include "cgroup/cgroup_root.h"
#include "cgroup/cgroup_set.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"
#include "inventory.pb-c.h"

#define OWN_SET 1

struct seen_set {
	char *text; /* of /proc/PID/cgroup */
	CgSetEntry *set;
	UT_hash_handle hh;
};

struct cgroup_dump {
	struct seen_set *by_text;
	CgroupEntry image;
	const CgSetEntry *own; /* criu's */
	struct cgroup_props props;
	uint32_t last_id;
};

extern const struct subsys cgroup_dump_subsys;

/* --cgroup-dump-controller. Where the set has no word of a hierarchy, tasks are in the caller's group at restore. */
static bool is_chosen(const struct options *o, const char *hierarchy)
{
	for (size_t i = 0; i < o->n_cgroup_dump_controllers; i++)
		if (cgroup_root_names(hierarchy, o->cgroup_dump_controllers[i], strlen(o->cgroup_dump_controllers[i])))
			return true;
	return false;
}

static void keep_chosen(const struct options *o, CgSetEntry *set)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n_ctls; i++)
		if (is_chosen(o, set->ctls[i]->name))
			set->ctls[n++] = set->ctls[i];
	set->n_ctls = n;
}

static int check_chosen(const struct options *o, const CgSetEntry *own)
{
	for (size_t i = 0; i < o->n_cgroup_dump_controllers; i++) {
		const char *name = o->cgroup_dump_controllers[i];
		bool found = false;

		for (size_t k = 0; !found && k < own->n_ctls; k++)
			found = cgroup_root_names(own->ctls[k]->name, name, strlen(name));
		if (!found)
			return log_refusal(
			    -ENOENT, "--cgroup-dump-controller %s: /proc/self/cgroup has no such controller", name);
	}
	return 0;
}

/* A namespace of the tree's own is a part of the key: the set says where its root is. */
static int add_set(struct dump *d, struct cgroup_dump *cg, const char *text, const struct ns *ns, pid_t pid,
                   uint32_t *id)
{
	const char *key = ns ? arena_printf(d->arena, "%u %s", ns->id, text) : text;
	size_t len = strlen(key);
	struct seen_set *s;
	int err;

	HASH_FIND(hh, cg->by_text, key, len, s);
	if (s) {
		*id = s->set->id;
		return 0;
	}
	s = arena_new_of(d->arena, struct seen_set);
	s->text = arena_strdup(d->arena, key);
	s->set = arena_msg(d->arena, CgSetEntry, cg_set_entry);
	s->set->id = *id = ++cg->last_id;
	err = cgroup_set_parse(d->arena, text, s->set);
	if (!err && ns)
		err = cgroup_ns_set_roots(d->arena, pid, s->set);
	if (d->opts->n_cgroup_dump_controllers)
		keep_chosen(d->opts, s->set);
	HASH_ADD_KEYPTR_IN(d->arena, hh, cg->by_text, s->text, len, s);
	if (s->set->id == OWN_SET)
		cg->own = s->set;
	else
		arena_push(d->arena, &cg->image.sets, &cg->image.n_sets, s->set);
	return err;
}

/* Its cgroup namespace, if that is not criu's. */
static const struct ns *own_namespace(struct dump *d, const struct task *t)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; t->ids && i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWCGROUP && ids->all[i].id == t->ids->cgroup_ns_id)
			return ids->all[i].pid ? &ids->all[i] : NULL;
	return NULL;
}

static int add_set_of(struct dump *d, struct cgroup_dump *cg, pid_t pid, pid_t tid, const struct ns *ns, uint32_t *id)
{
	_cleanup_free_ char *text = NULL;
	int err = cgroup_set_read(pid, tid, &text);

	return err ?: add_set(d, cg, text, ns, tid ?: pid, id);
}

static struct cgroup_dump *cgroups_of(struct dump *d)
{
	return dump_state(d, &cgroup_dump_subsys);
}

/* The options, and criu's own set, which is the first. */
static int begin(struct dump *d, struct cgroup_dump *cg)
{
	const struct options *o = d->opts;
	uint32_t id;
	int err = cgroup_root_check(o);

	cgroup_entry__init(&cg->image);
	if (!err && o->cgroup_props)
		err = cgroup_props_parse(d->arena, o->cgroup_props, "--cgroup-props", &cg->props);
	if (!err && o->cgroup_props_file)
		err = cgroup_props_parse(d->arena, arena_printf(d->arena, "@%s", o->cgroup_props_file),
		                         "--cgroup-props-file", &cg->props);
	if (err)
		return err;
	err = add_set_of(d, cg, getpid(), 0, NULL, &id);
	return err ?: check_chosen(o, cg->own);
}

static int cgroup_dump_task(struct dump *d, struct task *t)
{
	struct cgroup_dump *cg = cgroups_of(d);
	const struct ns *ns;
	int err = 0;

	if (d->opts->manage_cgroups == MANAGE_CGROUPS_IGNORE)
		return 0;
	if (!cg->last_id)
		err = begin(d, cg);
	if (err && cg->own)
		return err;
	ns = own_namespace(d, t);
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		ThreadCoreEntry *tc = t->threads[i].core->thread_core;

		if (i && t->dump->alike & ALIKE_CGROUPS)
			tc->cg_set = t->threads[0].core->thread_core->cg_set;
		else
			err = add_set_of(d, cg, t->pid, t->threads[i].tid, ns, &tc->cg_set);
		tc->has_cg_set = true;
	}
	/* A kernel without cgroups has no such file. */
	if (err == -ENOENT && access("/proc/self/cgroup", F_OK)) {
		t->threads[0].core->thread_core->has_cg_set = false;
		return 0;
	}
	return err ? log_errno(err, "%s: reading /proc/%d/cgroup", task_name(t), t->pid) : 0;
}

/* ---- the image ---- */

static int cgroup_dump_write(struct dump *d)
{
	struct cgroup_dump *cg = cgroups_of(d);
	int err;

	if (!cg->last_id)
		return 0;
	d->inventory->has_root_cg_set = true;
	d->inventory->root_cg_set = OWN_SET;
	cgroup_root_warn(d->opts, &cg->image);
	if (!cg->image.n_sets)
		return 0;
	err = cgroup_dirs_add(d, cg->own, &cg->props, &cg->image);
	if (err)
		return err;
	return image_write_one(d->dir, IMG_CGROUP, 0, &cg->image);
}

const struct subsys cgroup_dump_subsys = {
	.name = "cgroups",
	.state.dump = sizeof(struct cgroup_dump),
	.dump_task = cgroup_dump_task,
	.write_images = cgroup_dump_write,
};
