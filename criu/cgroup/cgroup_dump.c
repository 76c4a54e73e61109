/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which cgroups each thread is in. Threads that are in the same ones have one set; criu's own set is number 1, and is
 * not in cgroup.img: at restore it stands for the cgroups of the caller, as in CRIU.
 */
#include <string.h>

#include "cgroup/cgroup_set.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
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
	uint32_t last_id;
};

extern const struct subsys cgroup_dump_subsys;

static int add_set(struct dump *d, struct cgroup_dump *cg, const char *text, uint32_t *id)
{
	size_t len = strlen(text);
	struct seen_set *s;
	int err;

	HASH_FIND(hh, cg->by_text, text, len, s);
	if (s) {
		*id = s->set->id;
		return 0;
	}
	s = arena_new_of(d->arena, struct seen_set);
	s->text = arena_strdup(d->arena, text);
	s->set = arena_msg(d->arena, CgSetEntry, cg_set_entry);
	s->set->id = *id = ++cg->last_id;
	err = cgroup_set_parse(d->arena, text, s->set);
	HASH_ADD_KEYPTR_IN(d->arena, hh, cg->by_text, s->text, len, s);
	if (s->set->id != OWN_SET)
		arena_push(d->arena, &cg->image.sets, &cg->image.n_sets, s->set);
	return err;
}

static int add_set_of(struct dump *d, struct cgroup_dump *cg, pid_t pid, pid_t tid, uint32_t *id)
{
	_cleanup_free_ char *text = NULL;
	int err = cgroup_set_read(pid, tid, &text);

	return err ?: add_set(d, cg, text, id);
}

static struct cgroup_dump *cgroups_of(struct dump *d)
{
	return dump_state(d, &cgroup_dump_subsys);
}

static int cgroup_dump_task(struct dump *d, struct task *t)
{
	struct cgroup_dump *cg = cgroups_of(d);
	uint32_t id;
	int err = 0;

	if (d->opts->manage_cgroups == MANAGE_CGROUPS_IGNORE)
		return 0;
	if (!cg->last_id) {
		cgroup_entry__init(&cg->image);
		err = add_set_of(d, cg, getpid(), 0, &id);
	}
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		ThreadCoreEntry *tc = t->threads[i].core->thread_core;

		err = add_set_of(d, cg, t->pid, t->threads[i].tid, &tc->cg_set);
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

static CgControllerEntry *controller_of(struct dump *d, CgroupEntry *e, const char *name)
{
	CgControllerEntry *c;

	for (size_t i = 0; i < e->n_controllers; i++)
		if (!strcmp(e->controllers[i]->cnames[0], name))
			return e->controllers[i];
	c = arena_msg(d->arena, CgControllerEntry, cg_controller_entry);
	arena_push(d->arena, &c->cnames, &c->n_cnames, arena_strdup(d->arena, name));
	c->has_is_threaded = true;
	c->is_threaded = *name != '\0'; /* threads of a process can be in differing groups: version 1 */
	arena_push(d->arena, &e->controllers, &e->n_controllers, c);
	return c;
}

/* The directory, for CRIU, which makes those that it finds here. */
static void add_directory(struct dump *d, CgControllerEntry *c, const char *path)
{
	CgroupDirEntry *dir;

	for (size_t i = 0; i < c->n_dirs; i++)
		if (!strcmp(c->dirs[i]->dir_name, path + 1))
			return;
	dir = arena_msg(d->arena, CgroupDirEntry, cgroup_dir_entry);
	dir->dir_name = arena_strdup(d->arena, path + 1);
	arena_push(d->arena, &c->dirs, &c->n_dirs, dir);
}

static int cgroup_dump_write(struct dump *d)
{
	struct cgroup_dump *cg = cgroups_of(d);

	if (!cg->last_id)
		return 0;
	d->inventory->has_root_cg_set = true;
	d->inventory->root_cg_set = OWN_SET;
	if (!cg->image.n_sets)
		return 0;
	for (size_t i = 0; i < cg->image.n_sets; i++) {
		const CgSetEntry *set = cg->image.sets[i];

		for (size_t k = 0; k < set->n_ctls; k++)
			if (strcmp(set->ctls[k]->path, "/"))
				add_directory(d, controller_of(d, &cg->image, set->ctls[k]->name), set->ctls[k]->path);
	}
	return image_write_one(d->dir, IMG_CGROUP, 0, &cg->image);
}

const struct subsys cgroup_dump_subsys = {
	.name = "cgroups",
	.state.dump = sizeof(struct cgroup_dump),
	.dump_task = cgroup_dump_task,
	.write_images = cgroup_dump_write,
};
