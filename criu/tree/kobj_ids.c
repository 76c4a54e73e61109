/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/kcmp.h>

#include "proc/kcmp.h"
#include "tree/kobj_ids.h"
#include "tree/ns_ids.h"
#include "tree/user_ns_image.h"
#include "lib/log.h"

/* What is compared by kcmp, in the order of the message's first fields. */
static const int types[] = { KCMP_VM, KCMP_FILES, KCMP_FS, KCMP_SIGHAND };

enum { TYPE_VM = 0, TYPE_SIGHAND = ARRAY_SIZE(types) - 1 };

struct kobj_state {
	struct kcmp_tree trees[ARRAY_SIZE(types)];
	struct kcmp_tree *handlers; /* those of the tasks with one memory, by its id - 1 */
	size_t n_handlers;
	uint32_t last[ARRAY_SIZE(types)];
};

/*
 * Handlers of signals are shared only by tasks that share their memory (clone(2) demands it, and execve() parts both):
 * the handlers of others need not be compared.
 */
static struct kcmp_tree *tree_of_handlers(struct dump *d, struct kobj_state *s, uint32_t vm_id)
{
	while (s->n_handlers < vm_id)
		arena_push(d->arena, &s->handlers, &s->n_handlers, (struct kcmp_tree) {});
	return &s->handlers[vm_id - 1];
}

static int number_of_object(struct dump *d, struct kobj_state *s, size_t type, struct kcmp_tree *tree, pid_t pid,
                            uint32_t *id)
{
	struct kcmp_node *node;
	int err = kcmp_find(tree, d->arena, types[type], pid, 0, &node);

	if (err)
		return err;
	if (!node->id)
		node->id = ++s->last[type];
	*id = node->id;
	return 0;
}

/* ids: as many as there are types, in their order. */
static int number_of_all(struct dump *d, struct kobj_state *s, pid_t pid, uint32_t *const ids[])
{
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(types); i++) {
		struct kcmp_tree *tree = i == TYPE_SIGHAND ? tree_of_handlers(d, s, *ids[TYPE_VM]) : &s->trees[i];

		err = number_of_object(d, s, i, tree, pid, ids[i]);
	}
	return err;
}

/* criu's own objects are number 1 of each kind. */
static int number_own_objects(struct dump *d, struct kobj_state *s)
{
	uint32_t id[ARRAY_SIZE(types)];
	int err = number_of_all(d, s, getpid(), (uint32_t *const[]) { &id[0], &id[1], &id[2], &id[3] });

	return err ? log_errno(err, "kcmp: is CONFIG_KCMP missing in this kernel?") : 0;
}

static int compare_task(struct dump *d, struct kobj_state *s, struct task *t)
{
	TaskKobjIdsEntry *ids = t->ids = arena_msg(d->arena, TaskKobjIdsEntry, task_kobj_ids_entry);
	uint32_t *const fields[] = { &ids->vm_id, &ids->files_id, &ids->fs_id, &ids->sighand_id };
	int err = number_of_all(d, s, t->pid, fields);

	if (err)
		return log_errno(err, "%s: comparing what it shares with others (kcmp)", task_name(t));
	return 0;
}

int kobj_ids_compare(struct dump *d)
{
	struct kobj_state *s = arena_new_of(d->arena, struct kobj_state);
	int err = number_own_objects(d, s);

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD)
			err = compare_task(d, s, d->tree.tasks[i]);
	return err;
}

static int dump_task_ids(struct dump *d, struct kobj_state *s, struct task *t)
{
	int err = compare_task(d, s, t);

	err = err ?: ns_ids_of_task(d, t, t->ids);
	return err ?: image_write_one(d->dir, IMG_IDS, t->vpid.v, t->ids);
}

int kobj_ids_dump(struct dump *d)
{
	struct kobj_state *s = arena_new_of(d->arena, struct kobj_state);
	int err = number_own_objects(d, s) ?: ns_ids_begin(d);

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD)
			err = dump_task_ids(d, s, d->tree.tasks[i]);
	if (!err)
		user_ns_begin_images(d);
	return err;
}
