/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/user_ns.h"

#include <linux/sched.h>
#include <string.h>

#include "lib/log.h"
#include "tree/subsys.h"

/* Numbers of ids without a place in a map are looked for from here down. -1 is no id, -2 often stands for nobody. */
#define UNMAPPED_FROM 0xfffffff0U

extern const struct subsys user_ns_subsys;

struct user_ns_table *user_ns_of_dump(struct dump *d)
{
	return dump_state(d, &user_ns_subsys);
}

struct user_ns_table *user_ns_of_restore(struct restore *r)
{
	return restore_state(r, &user_ns_subsys);
}

struct user_ns *user_ns_find(const struct user_ns_table *all, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i]->id == id)
			return all->v[i];
	return NULL;
}

struct user_ns *user_ns_of_task(const struct user_ns_table *all, const struct task *t)
{
	return t->ids && t->ids->has_user_ns_id ? user_ns_find(all, t->ids->user_ns_id) : NULL;
}

bool user_ns_is_in(const struct user_ns *ns, const struct user_ns *other)
{
	while (ns && ns != other)
		ns = ns->parent;
	return ns == other;
}

/* ---- ids ---- */

static bool find_outside(const struct user_map *map, uint32_t inside, uint32_t *outside)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct user_range *v = &map->v[i];

		if (inside >= v->first && inside - v->first < v->count) {
			*outside = v->outside + (inside - v->first);
			return true;
		}
	}
	return false;
}

static bool find_inside(const struct user_map *map, uint32_t outside, uint32_t *inside)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct user_range *v = &map->v[i];

		if (outside >= v->outside && outside - v->outside < v->count) {
			*inside = v->first + (outside - v->outside);
			return true;
		}
	}
	return false;
}

bool user_ns_outside(const struct user_ns *ns, enum user_id kind, uint32_t inside, uint32_t *outside)
{
	*outside = inside;
	return !ns || find_outside(&ns->map[kind], inside, outside) ||
	       find_outside(&ns->unmapped[kind], inside, outside);
}

bool user_ns_known(const struct user_ns *ns, enum user_id kind, uint32_t outside, uint32_t *inside)
{
	*inside = outside;
	return !ns || find_inside(&ns->map[kind], outside, inside) || find_inside(&ns->unmapped[kind], outside, inside);
}

bool user_ns_is_unmapped(const struct user_ns *ns, enum user_id kind, uint32_t inside)
{
	uint32_t outside;

	return ns && find_outside(&ns->unmapped[kind], inside, &outside);
}

uint32_t user_ns_inside(struct dump *d, struct user_ns *ns, enum user_id kind, uint32_t outside)
{
	struct user_range range = { .first = UNMAPPED_FROM, .outside = outside, .count = 1 };
	uint32_t inside;

	if (user_ns_known(ns, kind, outside, &inside))
		return inside;
	while (user_ns_outside(ns, kind, range.first, &inside))
		range.first--;
	arena_push(d->arena, &ns->unmapped[kind].v, &ns->unmapped[kind].n, range);
	return range.first;
}

const char *user_ns_map_text(struct arena *a, const struct user_ns *ns, enum user_id kind)
{
	const struct user_map *map = &ns->map[kind];
	const char *text = "";

	for (size_t i = 0; i < map->n; i++) {
		uint32_t lower = 0;

		user_ns_known(ns->parent, kind, map->v[i].outside, &lower);
		text = arena_printf(a, "%s%u %u %u\n", text, map->v[i].first, lower, map->v[i].count);
	}
	return text;
}

/* ---- the ids with which a namespace is entered ---- */

struct chosen {
	bool id[2], groups;
};

static void choose_from(struct arena *a, struct user_ns *ns, const CredsEntry *e, struct chosen *c)
{
	const uint32_t ids[2][4] = { { e->euid, e->uid, e->suid, e->fsuid }, { e->egid, e->gid, e->sgid, e->fsgid } };
	bool groups = false;

	for (int kind = USER_ID; kind <= GROUP_ID; kind++)
		for (int i = 0; !c->id[kind] && i < 4; i++)
			if (user_ns_is_unmapped(ns, kind, ids[kind][i]))
				c->id[kind] = user_ns_outside(ns, kind, ids[kind][i], &ns->enter_as[kind]);
	for (size_t i = 0; i < e->n_groups; i++)
		groups |= user_ns_is_unmapped(ns, GROUP_ID, e->groups[i]);
	/* Where setgroups(2) is denied a list is what was brought along, and mapped ones are a part of that. */
	if (c->groups || !(groups || ns->deny_setgroups))
		return;
	c->groups = true;
	ns->n_groups = e->n_groups;
	ns->groups = arena_array(a, uint32_t, e->n_groups);
	for (size_t i = 0; i < e->n_groups; i++)
		user_ns_outside(ns, GROUP_ID, e->groups[i], &ns->groups[i]);
}

static void choose_entry(struct arena *a, const struct tree *tree, const struct user_ns_table *all, struct user_ns *ns)
{
	struct chosen c = { 0 };

	for (int kind = USER_ID; kind <= GROUP_ID; kind++)
		if (!find_outside(&ns->map[kind], 0, &ns->enter_as[kind]))
			ns->enter_as[kind] = ns->map[kind].n ? ns->map[kind].v[0].outside : 0;
	for (size_t i = 0; i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++) {
			const ThreadCoreEntry *tc = t->threads[k].core ? t->threads[k].core->thread_core : NULL;

			if (tc && tc->creds && user_ns_of_task(all, t) == ns)
				choose_from(a, ns, tc->creds, &c);
		}
	}
}

void user_ns_choose_entries(struct arena *a, const struct tree *tree, const struct user_ns_table *all)
{
	for (size_t i = 0; i < all->n; i++)
		choose_entry(a, tree, all, all->v[i]);
}
