/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "cgroup/cgroup_root.h"
#include "cgroup/cgroup_set.h"
#include "lib/log.h"

/* "name=systemd:/a": where the path begins; NULL: it has none. */
static const char *path_of(const char *root)
{
	const char *colon = strchr(root, ':');

	if (*root == '/')
		return root;
	return colon && colon[1] == '/' ? colon + 1 : NULL;
}

int cgroup_root_check(const struct options *o)
{
	for (size_t i = 0; i < o->n_cgroup_roots; i++) {
		const char *path = path_of(o->cgroup_roots[i]);

		if (!path || strstr(path, "/..") || strstr(path, "//"))
			return log_errno(-EINVAL, "--cgroup-root: '%s' is not valid (use [CONTROLLER:]/PATH)",
			                 o->cgroup_roots[i]);
	}
	return 0;
}

void cgroup_root_warn(const struct options *o, const CgroupEntry *image)
{
	for (size_t i = 0; i < o->n_cgroup_roots; i++) {
		const char *root = o->cgroup_roots[i], *path = path_of(root);
		bool used = false;

		for (size_t s = 0; s < image->n_sets; s++)
			for (size_t k = 0; !used && k < image->sets[s]->n_ctls; k++)
				used = cgroup_root_below(image->sets[s]->ctls[k]->path, path) &&
				       (path == root || cgroup_root_names(image->sets[s]->ctls[k]->name, root,
				                                          (size_t)(path - root - 1)));
		if (!used)
			log_warn(
			    "--cgroup-root %s has no effect: no task of the tree is in or below it, apart from criu's "
			    "own cgroups",
			    root);
	}
}

bool cgroup_root_names(const char *hierarchy, const char *word, size_t len)
{
	if (strlen(hierarchy) == len && !memcmp(hierarchy, word, len))
		return true;
	for (const char *w = hierarchy, *end; *w && len; w = *end ? end + 1 : end) {
		end = strchrnul(w, ',');
		if ((size_t)(end - w) == len && !memcmp(w, word, len))
			return true;
	}
	return false;
}

static const char *find_root(const struct options *o, const char *hierarchy, bool *by_name)
{
	const char *found = NULL;

	*by_name = false;
	for (size_t i = 0; i < o->n_cgroup_roots; i++) {
		const char *root = o->cgroup_roots[i], *path = path_of(root);

		if (path == root && !*by_name)
			found = path;
		if (path == root || !cgroup_root_names(hierarchy, root, (size_t)(path - root - 1)))
			continue;
		found = path;
		*by_name = true;
	}
	return found;
}

const char *cgroup_root_of(const struct options *o, const char *hierarchy)
{
	bool by_name;

	return find_root(o, hierarchy, &by_name);
}

static const char *root_here(const struct options *o, const struct cgroup_mounts *m, const char *hierarchy)
{
	bool by_name;
	const char *root = find_root(o, hierarchy, &by_name);

	if (!root || by_name || cgroup_place_is_mounted(m, hierarchy))
		return root;
	log_info("--cgroup-root %s: not for %s, of which no cgroup file system is mounted here", root, hierarchy);
	return NULL;
}

const char *cgroup_root_below(const char *path, const char *root)
{
	size_t len = strcmp(root, "/") ? strlen(root) : 0;

	if (strncmp(path, root, len) || (path[len] && path[len] != '/'))
		return NULL;
	return strcmp(path + len, "/") ? path + len : "";
}

const char *cgroup_root_hierarchy(struct arena *a, const CgControllerEntry *c)
{
	const char *name = c->n_cnames ? c->cnames[0] : "";

	for (size_t i = 1; i < c->n_cnames; i++)
		name = arena_printf(a, "%s,%s", name, c->cnames[i]);
	return name;
}

/* The part of two paths that both have. */
static const char *common_path(struct arena *a, const char *x, const char *y)
{
	char *path = arena_strdup(a, x);

	while (!cgroup_root_below(y, *path ? path : "/"))
		*strrchr(path, '/') = '\0';
	return *path ? path : "/";
}

/* What the root takes the place of: the group that the image has; of several, that in which all are. */
static const char *old_root(struct arena *a, const CgControllerEntry *c)
{
	const char *old = NULL, *bare = NULL;

	for (size_t i = 0; i < c->n_dirs; i++) {
		const char *path = arena_printf(a, "/%s", c->dirs[i]->dir_name);
		const char **one = c->dirs[i]->dir_perms ? &old : &bare;

		*one = *one ? common_path(a, *one, path) : path;
	}
	return old ?: bare ?: "/";
}

static const char *moved_path(struct arena *a, const char *path, const char *old, const char *new)
{
	const char *rest = cgroup_root_below(path, old);

	if (!rest)
		return path;
	return arena_printf(a, "%s%s", strcmp(new, "/") || !*rest ? new : "", rest);
}

static void move_member(struct arena *a, CgMemberEntry *m, const char *old, const char *new)
{
	const char *root = cgroup_set_root(a, m);

	if (root) {
		root = moved_path(a, root, old, new);
		m->cgns_prefix = strcmp(root, "/") ? (uint32_t)strlen(root) : 0;
	}
	m->path = arena_strdup(a, moved_path(a, m->path, old, new));
}

static const CgControllerEntry *controller_named(struct arena *a, const CgroupEntry *image, const char *hierarchy)
{
	for (size_t i = 0; i < image->n_controllers; i++)
		if (!strcmp(cgroup_root_hierarchy(a, image->controllers[i]), hierarchy))
			return image->controllers[i];
	return NULL;
}

void cgroup_root_move(struct arena *a, const struct options *o, const struct cgroup_mounts *m, CgroupEntry *image)
{
	for (size_t i = 0; i < image->n_sets; i++) {
		for (size_t k = 0; k < image->sets[i]->n_ctls; k++) {
			CgMemberEntry *e = image->sets[i]->ctls[k];
			const CgControllerEntry *c = controller_named(a, image, e->name);
			const char *new = root_here(o, m, e->name);

			if (new)
				move_member(a, e, c ? old_root(a, c) : "/", new);
		}
	}
	for (size_t i = 0; i < image->n_controllers; i++) {
		CgControllerEntry *c = image->controllers[i];
		const char *new = root_here(o, m, cgroup_root_hierarchy(a, c)), *old = old_root(a, c);

		for (size_t k = 0; new &&k < c->n_dirs; k++) {
			const char *path = arena_printf(a, "/%s", c->dirs[k]->dir_name);

			/* What CRIU writes of a root group is the machine's. */
			if (!*c->dirs[k]->dir_name) {
				c->dirs[k]->n_children = c->dirs[k]->n_properties = 0;
				c->dirs[k]->dir_perms = NULL;
			}
			c->dirs[k]->dir_name = arena_strdup(a, moved_path(a, path, old, new) + 1);
		}
	}
}
