/* SPDX-License-Identifier: GPL-2.0-only */
/* userns-ID.img: written when all ids of the tree are known, read before anything is started. */
#include <inttypes.h>
#include <linux/sched.h>
#include <unistd.h>

#include "image/image_ids.h"
#include "lib/log.h"
#include "tree/inventory.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"
#include "userns.pb-c.h"

#define DEPTH_MAX  33  /* the kernel nests them no deeper */
#define RANGES_MAX 340 /* the kernel takes no more of them */

/* ---- dump ---- */

static UidGidExtent **extents_of(struct dump *d, const struct user_map *map)
{
	UidGidExtent **v = arena_array(d->arena, UidGidExtent *, map->n);

	for (size_t i = 0; i < map->n; i++) {
		v[i] = arena_msg(d->arena, UidGidExtent, uid_gid_extent);
		v[i]->first = map->v[i].first;
		v[i]->lower_first = map->v[i].outside;
		v[i]->count = map->v[i].count;
	}
	return v;
}

static int write_one(struct dump *d, const struct user_ns *ns)
{
	UsernsEntry *m = arena_msg(d->arena, UsernsEntry, userns_entry);

	m->n_uid_map = ns->map[USER_ID].n;
	m->uid_map = extents_of(d, &ns->map[USER_ID]);
	m->n_gid_map = ns->map[GROUP_ID].n;
	m->gid_map = extents_of(d, &ns->map[GROUP_ID]);
	m->n_unmapped_uid = ns->unmapped[USER_ID].n;
	m->unmapped_uid = extents_of(d, &ns->unmapped[USER_ID]);
	m->n_unmapped_gid = ns->unmapped[GROUP_ID].n;
	m->unmapped_gid = extents_of(d, &ns->unmapped[GROUP_ID]);
	m->has_parent_ns_id = ns->parent != NULL;
	m->parent_ns_id = ns->parent ? ns->parent->id : 0;
	m->has_owner_uid = ns->owner != geteuid();
	m->owner_uid = ns->owner;
	m->has_deny_setgroups = m->deny_setgroups = ns->deny_setgroups;
	if (m->n_unmapped_uid || m->n_unmapped_gid || ns->parent || m->has_owner_uid || ns->deny_setgroups)
		inventory_only_ours(d);
	return image_write_one(d->dir, IMG_USERNS, ns->id, m);
}

/* Where nothing is said a namespace belongs to that of the root task, as CRIU restores it. */
static void note_owner(struct dump *d, const struct ns *ns)
{
	const struct user_ns *root = user_ns_of_task(user_ns_of_dump(d), d->tree.tasks[0]);
	InventoryEntry *inv = d->inventory;
	NsOwnerEntry *m;

	if (!ns->pid || ns->type->flag == CLONE_NEWUSER || ns->owner == (root ? root->id : 0))
		return;
	m = arena_msg(d->arena, NsOwnerEntry, ns_owner_entry);
	m->ns_id = ns->id;
	m->has_user_ns_id = ns->owner != 0;
	m->user_ns_id = ns->owner;
	arena_push(d->arena, &inv->ns_owners, &inv->n_ns_owners, m);
	inventory_only_ours(d);
}

static uint32_t object_inside(void *context, bool group, uint32_t id)
{
	struct dump *d = context;
	struct user_ns *ns = user_ns_of_task(user_ns_of_dump(d), d->tree.tasks[0]);

	return user_ns_inside(d, ns, group ? GROUP_ID : USER_ID, id);
}

void user_ns_begin_images(struct dump *d)
{
	const struct image_ids ids = { .context = d, .inside = object_inside };

	if (user_ns_of_task(user_ns_of_dump(d), d->tree.tasks[0]))
		image_dir_set_ids(d->dir, arena_memdup(d->arena, &ids, sizeof(ids)));
}

int user_ns_write(struct dump *d)
{
	const struct user_ns_table *all = user_ns_of_dump(d);
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = write_one(d, all->v[i]);
	for (size_t i = 0; !err && i < ids->n; i++)
		note_owner(d, &ids->all[i]);
	return err;
}

/* ---- restore ---- */

static bool ranges_overlap(uint32_t a, uint32_t n_a, uint32_t b, uint32_t n_b)
{
	return a < (uint64_t)b + n_b && b < (uint64_t)a + n_a;
}

/* -1 is no id. */
static bool range_fits(const struct user_map *map, const struct user_range *v)
{
	if (!v->count || (uint64_t)v->first + v->count > UINT32_MAX || (uint64_t)v->outside + v->count > UINT32_MAX)
		return false;
	for (size_t i = 0; i < map->n; i++)
		if (ranges_overlap(map->v[i].first, map->v[i].count, v->first, v->count) ||
		    ranges_overlap(map->v[i].outside, map->v[i].count, v->outside, v->count))
			return false;
	return true;
}

static int read_map(struct restore *r, const struct user_ns *ns, const char *what, UidGidExtent **v, size_t n,
                    struct user_map *map)
{
	for (size_t i = 0; i < n; i++) {
		const struct user_range range = { v[i]->first, v[i]->lower_first, v[i]->count };

		if (!range_fits(map, &range))
			return log_errno(-EINVAL,
			                 "userns-%u.img: %s: %u ids from %u (outside %u): empty, too many, or some of "
			                 "them have a place already",
			                 ns->id, what, range.count, range.first, range.outside);
		arena_push(r->arena, &map->v, &map->n, range);
	}
	return 0;
}

/* What the kernel asks of a map: each range lies in one of the namespace's parent. */
static int check_in_parent(const struct user_ns *ns, enum user_id kind)
{
	const struct user_map *map = &ns->map[kind];
	uint32_t first, last;

	if (map->n > RANGES_MAX)
		return log_errno(-EINVAL, "userns-%u.img: more than %d ranges in a map", ns->id, RANGES_MAX);
	for (size_t i = 0; ns->parent && i < map->n; i++) {
		const struct user_range *v = &map->v[i];
		bool known = user_ns_known(ns->parent, kind, v->outside, &first) &&
		             user_ns_known(ns->parent, kind, v->outside + (v->count - 1), &last);

		if (!known || last - first != v->count - 1 || user_ns_is_unmapped(ns->parent, kind, first))
			return log_errno(
			    -EINVAL, "userns-%u.img: %s ids from %u on (outside %u) are not in userns-%u.img", ns->id,
			    kind == USER_ID ? "user" : "group", v->first, v->outside, ns->parent->id);
	}
	return 0;
}

static int read_all_maps(struct restore *r, struct user_ns *ns, const UsernsEntry *m)
{
	struct user_map all[2] = { 0 };
	int err = read_map(r, ns, "uid_map", m->uid_map, m->n_uid_map, &all[USER_ID]);

	err = err ?: read_map(r, ns, "gid_map", m->gid_map, m->n_gid_map, &all[GROUP_ID]);
	ns->map[USER_ID] = all[USER_ID];
	ns->map[GROUP_ID] = all[GROUP_ID];
	/* None of them may have a place in the map. */
	err = err ?: read_map(r, ns, "unmapped_uid", m->unmapped_uid, m->n_unmapped_uid, &all[USER_ID]);
	err = err ?: read_map(r, ns, "unmapped_gid", m->unmapped_gid, m->n_unmapped_gid, &all[GROUP_ID]);
	err = err ?: read_map(r, ns, "unmapped_uid", m->unmapped_uid, m->n_unmapped_uid, &ns->unmapped[USER_ID]);
	err = err ?: read_map(r, ns, "unmapped_gid", m->unmapped_gid, m->n_unmapped_gid, &ns->unmapped[GROUP_ID]);
	err = err ?: check_in_parent(ns, USER_ID);
	return err ?: check_in_parent(ns, GROUP_ID);
}

static int read_ns(struct restore *r, uint32_t id, const char *by, unsigned depth, struct user_ns **out);

/* Those that have a place in the new one are read as what they were, numbers of images. */
static void take_unmapped(struct restore *r, struct user_ns *ns, enum user_id kind, UidGidExtent *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct user_range range = { v[i]->first, v[i]->lower_first, v[i]->count };
		uint32_t unused;

		if (!user_ns_outside(ns, kind, range.first, &unused) &&
		    !user_ns_known(ns, kind, range.outside, &unused))
			arena_push(r->arena, &ns->unmapped[kind].v, &ns->unmapped[kind].n, range);
	}
}

int user_ns_read_unmapped(struct restore *r, struct user_ns *ns)
{
	UsernsEntry *m;
	int err = image_read_one(r->dir, IMG_USERNS, ns->id, r->arena, &m);

	if (err)
		return err == -ENOENT ? 0 : err;
	take_unmapped(r, ns, USER_ID, m->unmapped_uid, m->n_unmapped_uid);
	take_unmapped(r, ns, GROUP_ID, m->unmapped_gid, m->n_unmapped_gid);
	return 0;
}

static int read_parent(struct restore *r, struct user_ns *ns, const UsernsEntry *m, unsigned depth)
{
	if (!m->has_parent_ns_id)
		return 0;
	if (depth >= DEPTH_MAX)
		return log_errno(-EINVAL, "userns-%u.img: user namespaces in more than %d others", ns->id, DEPTH_MAX);
	return read_ns(r, m->parent_ns_id, arena_printf(r->arena, "userns-%u.img", ns->id), depth + 1, &ns->parent);
}

static int read_ns(struct restore *r, uint32_t id, const char *by, unsigned depth, struct user_ns **out)
{
	struct user_ns_table *all = user_ns_of_restore(r);
	struct user_ns *ns = user_ns_find(all, id);
	UsernsEntry *m;
	int err = 0;

	*out = ns;
	if (ns)
		return 0;
	err = image_read_one(r->dir, IMG_USERNS, id, r->arena, &m);
	if (err == -ENOENT)
		return log_errno(err, "%s: names user namespace %u, of which there is no image (userns-%u.img)", by, id,
		                 id);
	if (err)
		return err;
	*out = ns = arena_new_of(r->arena, struct user_ns);
	ns->id = id;
	ns->fd = -1;
	ns->owner = m->has_owner_uid ? m->owner_uid : geteuid();
	ns->deny_setgroups = m->deny_setgroups;
	err = read_parent(r, ns, m, depth);
	err = err ?: read_all_maps(r, ns, m);
	arena_push(r->arena, &all->v, &all->n, ns);
	return err;
}

/* NULL: criu's. */
struct user_ns *user_ns_owner(struct restore *r, uint32_t ns_id)
{
	const struct user_ns_table *all = user_ns_of_restore(r);
	const InventoryEntry *inv = r->inventory;

	for (size_t i = 0; inv && i < inv->n_ns_owners; i++)
		if (inv->ns_owners[i]->ns_id == ns_id)
			return inv->ns_owners[i]->has_user_ns_id ? user_ns_find(all, inv->ns_owners[i]->user_ns_id)
			                                         : NULL;
	return user_ns_of_task(all, r->tree.tasks[0]);
}

/* Files and other objects belong to nobody's namespace: they are seen as the root task sees them. */
static bool object_outside(void *context, bool group, uint32_t id, uint32_t *out)
{
	struct restore *r = context;
	const struct user_ns *ns = user_ns_of_task(user_ns_of_restore(r), r->tree.tasks[0]);

	return user_ns_outside(ns, group ? GROUP_ID : USER_ID, id, out);
}

static int user_ns_read(struct restore *r)
{
	const InventoryEntry *inv = r->inventory;
	struct user_ns *ns;
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		uint32_t id = ns_ids_own(r, t, ns_type_of_flag(CLONE_NEWUSER));

		err =
		    id ? read_ns(r, id, arena_printf(r->arena, "ids-%d.img (or inventory.img)", t->vpid.v), 0, &ns) : 0;
	}
	for (size_t i = 0; !err && inv && i < inv->n_ns_owners; i++)
		err = inv->ns_owners[i]->has_user_ns_id
		          ? read_ns(r, inv->ns_owners[i]->user_ns_id, "inventory.img", 0, &ns)
		          : 0;
	if (err || !user_ns_of_restore(r)->n)
		return err;
	user_ns_choose_entries(r->arena, &r->tree, user_ns_of_restore(r));
	if (user_ns_of_task(user_ns_of_restore(r), r->tree.tasks[0]))
		image_dir_set_ids(r->dir, arena_memdup(r->arena,
		                                       &(struct image_ids) { .context = r, .outside = object_outside },
		                                       sizeof(struct image_ids)));
	return 0;
}

extern const struct subsys user_ns_subsys;

const struct subsys user_ns_subsys = {
	.name = "user namespaces",
	.state = { .dump = sizeof(struct user_ns_table), .restore = sizeof(struct user_ns_table) },
	.read_images = user_ns_read,
};
