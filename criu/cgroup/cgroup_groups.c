/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup_groups.h"
#include "cgroup/cgroup_props.h"
#include "cgroup/cgroup_root.h"
#include "lib/fault.h"
#include "lib/log.h"

/* ---- the image ---- */

/* A name below others has no slash in it. */
static int check_names(const CgroupDirEntry *e, bool top)
{
	const char *name = e->dir_name;

	if (strstr(name, "..") == name || strstr(name, "/..") || *name == '/' ||
	    (!top && (!*name || strchr(name, '/'))))
		return log_errno(-EINVAL, "cgroup.img: \"%s\" is no name of a cgroup", name);
	for (size_t i = 0; i < e->n_properties; i++)
		if (!*e->properties[i]->name || strchr(e->properties[i]->name, '/') || *e->properties[i]->name == '.')
			return log_errno(-EINVAL, "cgroup.img: \"%s\" is no property of a cgroup",
			                 e->properties[i]->name);
	for (size_t i = 0; i < e->n_children; i++)
		if (check_names(e->children[i], false))
			return -EINVAL;
	return 0;
}

int cgroup_groups_valid(struct arena *a, const CgroupEntry *image)
{
	int err = 0;

	for (size_t i = 0; i < image->n_controllers; i++)
		for (size_t k = 0; !err && k < image->controllers[i]->n_dirs; k++)
			err = check_names(image->controllers[i]->dirs[k], true);
	return err;
}

/*
 * A directory without anything is the caller's at the dump, or from an older image; tasks alone make it necessary. What
 * CRIU writes of a root group is the whole machine.
 */
static bool is_trees(const CgroupDirEntry *top)
{
	return *top->dir_name && (top->dir_perms || top->n_properties || top->n_children);
}

bool cgroup_groups_any(const CgroupEntry *image)
{
	for (size_t i = 0; i < image->n_controllers; i++)
		for (size_t k = 0; k < image->controllers[i]->n_dirs; k++)
			if (is_trees(image->controllers[i]->dirs[k]))
				return true;
	return false;
}

/* ---- before the start ---- */

static int check_mode(const struct restore *r, const struct cgroup_group *g)
{
	enum manage_cgroups mode = r->opts->manage_cgroups;
	bool exists = !faccessat(AT_FDCWD, g->place.directory, F_OK, AT_EACCESS);

	if (exists && mode == MANAGE_CGROUPS_STRICT)
		return log_refusal(
		    -EEXIST,
		    "%s: %s exists, and --manage-cgroups=strict makes all groups anew: remove it, or take "
		    "another mode",
		    g->place.what, g->place.directory);
	if (!exists && (mode == MANAGE_CGROUPS_NONE || mode == MANAGE_CGROUPS_PROPS))
		return log_refusal(
		    -ENOENT, "%s: %s is missing, and --manage-cgroups=%s makes no groups; --manage-cgroups=soft does",
		    g->place.what, g->place.directory, mode == MANAGE_CGROUPS_NONE ? "none" : "props");
	return 0;
}

static int add_group(struct restore *r, const struct cgroup_mounts *m, const char *hierarchy, const char *path,
                     const CgroupDirEntry *entry, struct cgroup_groups *all)
{
	struct cgroup_group g = { .place = { .name = hierarchy, .path = path }, .entry = entry };
	int err = 0;

	g.place.what = cgroup_place_name(r->arena, &g.place);
	if (!cgroup_place_find(r->arena, m, &g.place))
		return log_refusal(-ENODEV,
		                   "%s: no cgroup file system that has it is mounted here; --manage-cgroups=ignore "
		                   "restores without cgroups",
		                   g.place.what);
	err = check_mode(r, &g);
	arena_push(r->arena, &all->v, &all->n, g);
	for (size_t i = 0; i < entry->n_children; i++) {
		const CgroupDirEntry *child = entry->children[i];
		int part =
		    add_group(r, m, hierarchy, arena_printf(r->arena, "%s/%s", path, child->dir_name), child, all);

		err = err ?: part;
	}
	return err;
}

int cgroup_groups_check(struct restore *r, const CgroupEntry *image, const struct cgroup_mounts *m,
                        struct cgroup_groups *all)
{
	int err = 0;

	for (size_t i = 0; i < image->n_controllers; i++) {
		const CgControllerEntry *c = image->controllers[i];
		const char *hierarchy = cgroup_root_hierarchy(r->arena, c);

		for (size_t k = 0; k < c->n_dirs; k++) {
			const char *path = arena_printf(r->arena, "/%s", c->dirs[k]->dir_name);
			int part = is_trees(c->dirs[k]) ? add_group(r, m, hierarchy, path, c->dirs[k], all) : 0;

			err = err ?: part;
		}
	}
	return err;
}

/* ---- writing ---- */

static bool has_properties(const struct restore *r, const struct cgroup_group *g)
{
	switch (r->opts->manage_cgroups) {
	case MANAGE_CGROUPS_SOFT:
		return g->made;
	case MANAGE_CGROUPS_PROPS:
	case MANAGE_CGROUPS_FULL:
	case MANAGE_CGROUPS_STRICT:
		return true;
	default:
		return false;
	}
}

static int open_directory(const char *path)
{
	int dir = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -errno : dir;
}

/* Of a group that existed: text is the name of the property, '\n', and what it was. */
static int take_back_value(const struct undo *u)
{
	_cleanup_close_ int dir = open_directory(u->path);
	const char *value = strchr(u->text, '\n');
	char name[256];
	int err;

	if (dir < 0)
		return dir;
	snprintf(name, sizeof(name), "%.*s", (int)(value - u->text), u->text);
	err = cgroup_prop_write(dir, name, value + 1);
	return err < 0 ? err : 0;
}

/* text is the name of the file, data its CgroupPerms. */
static int take_back_perms(const struct undo *u)
{
	_cleanup_close_ int dir = open_directory(u->path);
	CgroupPerms perms;
	int err;

	if (dir < 0)
		return dir;
	memcpy(&perms, u->data, sizeof(perms));
	err = cgroup_perms_write(dir, u->text, &perms);
	return err < 0 ? err : 0;
}

/* A group that is made goes as a whole. */
#define NOTHING_NOTED INT_MAX

static int note_value(struct restore *r, const struct cgroup_group *g, int dir, const char *name)
{
	struct undo u = { .type = UNDO_CALL, .call = take_back_value, .fd = -1, .path = g->place.directory };
	_cleanup_free_ char *now = NULL;
	int err = g->made ? 0 : cgroup_prop_read(dir, name, &now);

	if (g->made || err)
		return err ?: NOTHING_NOTED;
	u.text = arena_printf(r->arena, "%s\n%s", name, now);
	return guardian_note(r->guardian, &u);
}

static int note_perms(struct restore *r, const struct cgroup_group *g, int dir, const char *name)
{
	CgroupPerms perms = CGROUP_PERMS__INIT;
	struct undo u = { .type = UNDO_CALL, .call = take_back_perms, .fd = -1, .path = g->place.directory };
	struct stat st;

	if (g->made || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return NOTHING_NOTED;
	perms.mode = st.st_mode;
	perms.uid = st.st_uid;
	perms.gid = st.st_gid;
	u.text = name;
	u.data = &perms;
	u.data_len = sizeof(perms);
	return guardian_note(r->guardian, &u);
}

static int set_perms(struct restore *r, const struct cgroup_group *g, int dir, const char *name,
                     const CgroupPerms *perms)
{
	int number = perms ? note_perms(r, g, dir, name) : NOTHING_NOTED, err;

	if (!perms || number < 0)
		return perms ? number : 0;
	err = cgroup_perms_write(dir, name, perms);
	if (err <= 0 && number != NOTHING_NOTED)
		guardian_drop(r->guardian, number);
	if (err < 0)
		return log_errno(err, "%s: owner or mode of %s/%s", g->place.what, g->place.directory, name);
	return 0;
}

/* 0, or a negative errno that is not logged: another property may have to be written first. */
static int write_property(struct restore *r, const struct cgroup_group *g, const CgroupPropEntry *p)
{
	_cleanup_close_ int dir = open_directory(g->place.directory);
	int number, err;

	if (dir < 0)
		return dir;
	number = note_value(r, g, dir, p->name);
	if (number == -ENOENT && cgroup_props_is_new(p->name, p->value))
		return 0;
	if (number < 0)
		return number;
	err = cgroup_prop_write(dir, p->name, p->value);
	if (err == -ENOENT && cgroup_props_is_new(p->name, p->value))
		err = 0;
	if (err <= 0 && number != NOTHING_NOTED)
		guardian_drop(r->guardian, number);
	if (err > 0)
		fault_point("cgroup property written");
	return MIN(err, 0);
}

static const char *why_not_written(const char *name, int err)
{
	if (err == -ENOENT && strncmp(name, "cgroup.", 7))
		return " (the group above does not hand this controller on, or this kernel has no such property)";
	if (err == -EBUSY)
		return " (in use: what is in the group is more than that)";
	return "";
}

static int say_not_written(const struct cgroup_group *g, const CgroupPropEntry *p, int err)
{
	return log_errno(err,
	                 "%s: write of \"%s\" into %s/%s%s; --manage-cgroups=none restores without the properties of "
	                 "groups",
	                 g->place.what, p->value, g->place.directory, p->name, why_not_written(p->name, err));
}

/* What is still to be written, and why it could not be. */
struct pending {
	const struct cgroup_group *group;
	const CgroupPropEntry *prop;
	int err;
};

struct pending_list {
	struct pending *v;
	size_t n;
};

static enum cgroup_when when_written(const CgroupPropEntry *p)
{
	size_t rank;
	const struct cgroup_prop *row = cgroup_props_find(NULL, p->name, &rank);

	return row ? row->when : CGROUP_LATE;
}

static void write_or_put_off(struct restore *r, const struct cgroup_group *g, enum cgroup_when when,
                             struct pending_list *later)
{
	for (size_t i = 0; i < g->entry->n_properties; i++) {
		struct pending p = { .group = g, .prop = g->entry->properties[i] };

		if (when_written(p.prop) == when)
			p.err = write_property(r, g, p.prop);
		if (p.err)
			arena_push(r->arena, &later->v, &later->n, p);
	}
}

/* Groups that existed can have values that stand in the way of each other: again, as long as one more is taken. */
static int write_put_off(struct restore *r, struct pending_list *later)
{
	size_t left = later->n;

	do {
		later->n = left;
		left = 0;
		for (size_t i = 0; i < later->n; i++) {
			struct pending p = later->v[i];

			p.err = write_property(r, p.group, p.prop);
			if (p.err)
				later->v[left++] = p;
		}
	} while (left && left < later->n);
	return left ? say_not_written(later->v[0].group, later->v[0].prop, later->v[0].err) : 0;
}

/* ---- the stages ---- */

static int set_all_perms(struct restore *r, const struct cgroup_group *g)
{
	_cleanup_close_ int dir = open_directory(g->place.directory);
	int err = dir < 0 ? log_errno(dir, "%s: open of %s", g->place.what, g->place.directory) : 0;

	for (size_t i = 0; !err && i < g->entry->n_properties; i++)
		if (!faccessat(dir, g->entry->properties[i]->name, F_OK, 0))
			err = set_perms(r, g, dir, g->entry->properties[i]->name, g->entry->properties[i]->perms);
	return err ?: set_perms(r, g, dir, ".", g->entry->dir_perms);
}

int cgroup_groups_make(struct restore *r, struct cgroup_groups *all)
{
	struct pending_list later = { 0 };
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++) {
		struct cgroup_group *g = &all->v[i];

		err = cgroup_place_make_directory(r->arena, r->guardian, &g->place, &g->made);
		if (!err && has_properties(r, g)) {
			write_or_put_off(r, g, CGROUP_EARLY, &later);
			err = set_all_perms(r, g);
		}
	}
	return err ?: later.n ? write_put_off(r, &later) : 0;
}

static bool is_frozen_in_image(const CgroupPropEntry *p)
{
	return !strcmp(p->value, "FROZEN") || !strcmp(p->value, "1");
}

/* From here on the tree does not run, and in version 1 could not even be killed: it is thawed before that. */
static int freeze_group(struct restore *r, const struct cgroup_group *g, const CgroupPropEntry *p)
{
	bool v2 = !*g->place.name;
	struct undo u = {
		.type = UNDO_CGROUP_THAW,
		.fd = -1,
		.path = arena_printf(r->arena, "%s/%s", g->place.directory, p->name),
		.text = v2 ? "0" : "THAWED",
	};
	int err = is_frozen_in_image(p) ? guardian_note(r->guardian, &u) : 0;

	if (err >= 0)
		err = write_property(r, g, p);
	if (!err && is_frozen_in_image(p))
		fault_point("cgroup frozen again");
	return err < 0 ? say_not_written(g, p, err) : 0;
}

int cgroup_groups_limit(struct restore *r, struct cgroup_groups *all)
{
	struct pending_list later = { 0 };
	int err;

	for (size_t i = 0; i < all->n; i++)
		if (has_properties(r, &all->v[i]))
			write_or_put_off(r, &all->v[i], CGROUP_LATE, &later);
	err = later.n ? write_put_off(r, &later) : 0;
	for (size_t i = 0; !err && i < all->n; i++) {
		const struct cgroup_group *g = &all->v[i];

		for (size_t k = 0; !err && k < g->entry->n_properties; k++) {
			const CgroupPropEntry *p = g->entry->properties[k];

			if (when_written(p) == CGROUP_LAST &&
			    (has_properties(r, g) || (g->thawed && is_frozen_in_image(p))))
				err = freeze_group(r, g, p);
		}
	}
	return err;
}
