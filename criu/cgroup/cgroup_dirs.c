/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The tree's own groups are those that its tasks are in and criu is not, and what is below them, groups without any
 * process too; where another process is in a group below, that group is another one's. --cgroup-root begins above.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup_dirs.h"
#include "cgroup/cgroup_place.h"
#include "cgroup/cgroup_root.h"
#include "cgroup/cgroup_set.h"
#include "freeze/freeze.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "proc/proc.h"

/* A group with tasks of the tree in it or below it. */
struct trees_group {
	char *key; /* the hierarchy, ':' and the path */
	bool has_tasks, written;
	UT_hash_handle hh;
};

struct walk {
	struct dump *d;
	const struct cgroup_props *props;
	struct cgroup_mounts mounts;
	struct trees_group *groups;
	const char *hierarchy;
};

static struct trees_group *find_group(const struct walk *w, const char *path)
{
	const char *key = arena_printf(w->d->arena, "%s:%s", w->hierarchy, path);
	struct trees_group *g;

	HASH_FIND(hh, w->groups, key, strlen(key), g);
	return g;
}

static struct trees_group *note_group(struct walk *w, const char *path)
{
	struct trees_group *g = find_group(w, path);

	if (g)
		return g;
	g = arena_new_of(w->d->arena, struct trees_group);
	g->key = arena_printf(w->d->arena, "%s:%s", w->hierarchy, path);
	HASH_ADD_KEYPTR_IN(w->d->arena, hh, w->groups, g->key, strlen(g->key), g);
	return g;
}

/* "" of "/a". */
static char *path_above(struct arena *a, const char *path)
{
	char *above = arena_strdup(a, path);

	*strrchr(above, '/') = '\0';
	return above;
}

/* The group, and those above it. */
static void note_groups(struct walk *w, const char *path)
{
	note_group(w, path)->has_tasks = true;
	for (const char *p = path_above(w->d->arena, path); *p && !find_group(w, p); p = path_above(w->d->arena, p))
		note_group(w, p);
}

/* ---- properties ---- */

static CgroupPerms *perms_of(struct walk *w, const struct stat *st)
{
	CgroupPerms *p = arena_msg(w->d->arena, CgroupPerms, cgroup_perms);

	p->mode = st->st_mode;
	p->uid = st->st_uid;
	p->gid = st->st_gid;
	return p;
}

/* As CRIU has it: what is written, not what is read. NULL: the file has nothing to be kept. */
static const char *value_to_keep(struct walk *w, int dir, const char *name, char *value)
{
	static const char oom[] = "oom_kill_disable ", no_limit[] = "92233720368547";
	_cleanup_free_ char *self = NULL;

	if (!strcmp(name, "memory.oom_control") && !strncmp(value, oom, strlen(oom))) {
		value[strcspn(value, "\n")] = '\0';
		return arena_strdup(w->d->arena, value + strlen(oom));
	}
	/* It is not written any more since Linux 5.16. */
	if (!strcmp(name, "memory.kmem.limit_in_bytes") && !strncmp(value, no_limit, strlen(no_limit)))
		return NULL;
	/* A group above may be what is frozen. While criu works, the tree's groups are not. */
	if (!strcmp(name, "freezer.state"))
		return (!cgroup_prop_read(dir, "freezer.self_freezing", &self) && *self == '1') ||
		               freeze_was_frozen(&w->d->tree, dir)
		           ? "FROZEN"
		           : "THAWED";
	if (!strcmp(name, "cgroup.freeze") && freeze_was_frozen(&w->d->tree, dir))
		return "1";
	return arena_strdup(w->d->arena, value);
}

/* Of a file that has an owner and a mode alone: version 1's always, as in CRIU's images; version 2's if they are not
 * the kernel's. */
static bool is_access_kept(const struct walk *w, const struct stat *st)
{
	return *w->hierarchy || st->st_uid || st->st_gid || (st->st_mode & 07777) != 0644;
}

static int add_property(struct walk *w, int dir, const struct cgroup_prop *row, const char *name, CgroupDirEntry *e,
                        const char *path)
{
	_cleanup_free_ char *value = NULL;
	const char *kept = "";
	CgroupPropEntry *p;
	struct stat st;
	int err = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) ? -errno : 0;

	if (!err && row->when != CGROUP_ACCESS)
		err = cgroup_prop_read(dir, name, &value);
	if (err == -EOPNOTSUPP || err == -ENODEV || err == -ENOENT || err == -EINVAL) {
		log_info("cgroup %s: %s has no value (%s)", path, name, strerror(-err));
		return 0;
	}
	if (err)
		return log_errno(err, "cgroup %s of %s: reading %s; --manage-cgroups=ignore saves no cgroups", path,
		                 *w->hierarchy ? w->hierarchy : "version 2", name);
	if (row->when != CGROUP_ACCESS)
		kept = value_to_keep(w, dir, name, value);
	if (!kept || (row->when == CGROUP_ACCESS && !is_access_kept(w, &st)))
		return 0;
	p = arena_msg(w->d->arena, CgroupPropEntry, cgroup_prop_entry);
	p->name = arena_strdup(w->d->arena, name);
	p->value = arena_strdup(w->d->arena, kept);
	p->perms = perms_of(w, &st);
	arena_push(w->d->arena, &e->properties, &e->n_properties, p);
	return 0;
}

/* ---- a directory ---- */

struct found_prop {
	const struct cgroup_prop *row;
	const char *name;
	size_t rank;
};

struct listing {
	struct found_prop *props;
	size_t n_props;
	const char **children;
	size_t n_children;
};

static int by_rank(const void *a, const void *b)
{
	const struct found_prop *x = a, *y = b;

	return x->rank == y->rank ? strcmp(x->name, y->name) : x->rank < y->rank ? -1 : 1;
}

static int list_directory(struct walk *w, int dir, struct listing *l)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);
	struct arena *a = w->d->arena;
	struct found_prop found;
	struct dirent *e;

	if (!stream) {
		if (fd >= 0)
			close(fd);
		return -errno;
	}
	while ((e = readdir(stream))) {
		found.row = e->d_type == DT_REG ? cgroup_props_find(w->props, e->d_name, &found.rank) : NULL;
		if (found.row) {
			found.name = arena_strdup(a, e->d_name);
			arena_push(a, &l->props, &l->n_props, found);
		}
		if (e->d_type == DT_DIR && strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			arena_push(a, &l->children, &l->n_children, arena_strdup(a, e->d_name));
	}
	closedir(stream);
	if (l->n_props)
		qsort(l->props, l->n_props, sizeof(*l->props), by_rank);
	return 0;
}

/* Whether a group has a process. In a threaded one of version 2 the first file cannot be read. */
static bool has_processes(int dir)
{
	_cleanup_free_ char *procs = NULL;
	int err = cgroup_prop_read(dir, "cgroup.procs", &procs);

	if (err == -EOPNOTSUPP)
		err = cgroup_prop_read(dir, "cgroup.threads", &procs);
	return !err && *procs;
}

static CgroupDirEntry *new_entry(struct walk *w, const char *name)
{
	CgroupDirEntry *e = arena_msg(w->d->arena, CgroupDirEntry, cgroup_dir_entry);

	e->dir_name = arena_strdup(w->d->arena, name);
	return e;
}

static int walk_group(struct walk *w, int parent, const char *name, const char *path, CgroupDirEntry *above,
                      bool *foreign);

static int walk_children(struct walk *w, int dir, const struct listing *l, const char *path, CgroupDirEntry *e,
                         bool *foreign)
{
	int err = 0;

	for (size_t i = 0; !err && i < l->n_children; i++)
		err = walk_group(w, dir, l->children[i], arena_printf(w->d->arena, "%s/%s", path, l->children[i]), e,
		                 foreign);
	return err;
}

/* One group into the list of the one above. *foreign is set where it is another one's and stays out. */
static int walk_group(struct walk *w, int parent, const char *name, const char *path, CgroupDirEntry *above,
                      bool *foreign)
{
	_cleanup_close_ int dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool trees = find_group(w, path) != NULL, others = false;
	CgroupDirEntry *e = new_entry(w, name);
	struct listing l = { 0 };
	struct stat st;
	int err;

	if (dir < 0 && errno == ENOENT)
		return 0; /* just removed */
	if (dir < 0 || fstat(dir, &st))
		return log_errno(-errno, "open of the cgroup %s", path);
	if (!trees && has_processes(dir)) {
		log_info("cgroup %s: it has processes that are not of the tree, and is not saved", path);
		*foreign = true;
		return 0;
	}
	err = list_directory(w, dir, &l);
	if (err)
		return log_errno(err, "reading the directory of the cgroup %s", path);
	err = walk_children(w, dir, &l, path, e, &others);
	if (err || (others && !trees)) {
		*foreign = true;
		return err;
	}
	e->dir_perms = perms_of(w, &st);
	for (size_t i = 0; !err && i < l.n_props; i++)
		err = add_property(w, dir, l.props[i].row, l.props[i].name, e, path);
	arena_push(w->d->arena, &above->children, &above->n_children, e);
	return err;
}

/* ---- the tops ---- */

static CgControllerEntry *controller_of(struct walk *w, CgroupEntry *image, const char *hierarchy)
{
	CgControllerEntry *c;

	for (size_t i = 0; i < image->n_controllers; i++)
		if (!strcmp(cgroup_root_hierarchy(w->d->arena, image->controllers[i]), hierarchy))
			return image->controllers[i];
	c = arena_msg(w->d->arena, CgControllerEntry, cg_controller_entry);
	for (const char *n = hierarchy, *end;; n = end + 1) {
		end = strchrnul(n, ',');
		arena_push(w->d->arena, &c->cnames, &c->n_cnames, arena_printf(w->d->arena, "%.*s", (int)(end - n), n));
		if (!*end)
			break;
	}
	c->has_is_threaded = true;
	c->is_threaded = *hierarchy != '\0'; /* threads of a process can be in differing groups: version 1 */
	arena_push(w->d->arena, &image->controllers, &image->n_controllers, c);
	return c;
}

/* Whether a directory of the image is this one. */
static bool has_directory(const CgControllerEntry *c, const char *path)
{
	for (size_t i = 0; i < c->n_dirs; i++)
		if (!strcmp(c->dirs[i]->dir_name, path + 1))
			return true;
	return false;
}

/* The highest group of the tree's above a path, itself perhaps; or the root that is given. */
static const char *top_of(struct walk *w, const char *path)
{
	const char *root = cgroup_root_of(w->d->opts, w->hierarchy), *top = path;

	if (root && strcmp(root, "/") && cgroup_root_below(path, root))
		return root;
	for (const char *p = path_above(w->d->arena, path); *p; p = path_above(w->d->arena, p))
		if (find_group(w, p) && find_group(w, p)->has_tasks)
			top = p;
	return top;
}

static int add_top(struct walk *w, CgControllerEntry *c, const char *path)
{
	struct cgroup_place place = { .name = w->hierarchy, .path = path };
	CgroupDirEntry holder = CGROUP_DIR_ENTRY__INIT;
	struct trees_group *top = note_group(w, path);
	bool foreign = false;
	int err;

	if (top->written)
		return 0;
	top->written = true;
	if (!cgroup_place_find(w->d->arena, &w->mounts, &place)) {
		log_warn("cgroup %s of %s: no cgroup file system that has it is mounted here: its properties are not "
		         "saved",
		         path, *w->hierarchy ? w->hierarchy : "version 2");
		arena_push(w->d->arena, &c->dirs, &c->n_dirs, new_entry(w, path + 1));
		return 0;
	}
	err = walk_group(w, AT_FDCWD, place.directory, path, &holder, &foreign);
	/* One that only zombies are in may have been removed. */
	if (!holder.n_children)
		arena_push(w->d->arena, &holder.children, &holder.n_children, new_entry(w, ""));
	holder.children[0]->dir_name = arena_strdup(w->d->arena, path + 1);
	arena_push(w->d->arena, &c->dirs, &c->n_dirs, holder.children[0]);
	return err;
}

/* The root of a cgroup namespace is the tree's, unless criu is in it. */
static void note_root(struct walk *w, const char *callers, const char *path)
{
	if (strcmp(path, "/") && (!callers || strcmp(callers, path)))
		note_groups(w, path);
}

/* The tree's groups first, then those of criu that tasks of the tree are in. */
static int add_member(struct walk *w, CgroupEntry *image, const CgSetEntry *own, const CgMemberEntry *m, int pass)
{
	const char *mine = cgroup_set_path(own, m->name);
	bool callers = mine && !strcmp(mine, m->path);
	CgControllerEntry *c;

	w->hierarchy = m->name;
	if (!strcmp(m->path, "/") || callers != (pass == 2))
		return 0;
	if (pass == 0) {
		note_groups(w, m->path);
		if (m->cgns_prefix && m->cgns_prefix <= strlen(m->path))
			note_root(w, mine, arena_printf(w->d->arena, "%.*s", (int)m->cgns_prefix, m->path));
		return 0;
	}
	c = controller_of(w, image, m->name);
	if (pass == 1)
		return add_top(w, c, top_of(w, m->path));
	if (!has_directory(c, m->path))
		arena_push(w->d->arena, &c->dirs, &c->n_dirs, new_entry(w, m->path + 1));
	return 0;
}

int cgroup_dirs_add(struct dump *d, const CgSetEntry *own, const struct cgroup_props *props, CgroupEntry *image)
{
	struct walk w = { .d = d, .props = props };
	int err = cgroup_place_mounts(d->arena, d->opts->cgroup_yard, &w.mounts);

	for (int pass = 0; pass < 3; pass++)
		for (size_t i = 0; i < image->n_sets; i++)
			for (size_t k = 0; !err && k < image->sets[i]->n_ctls; k++)
				err = add_member(&w, image, own, image->sets[i]->ctls[k], pass);
	return err;
}
