/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump of what is mounted and was deleted, or is a file that no archive of its file system has. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "helper/foreign.h"
#include "lib/log.h"
#include "mnt/mnt_ghosts.h"
#include "path/file_names.h"
#include "path/ghost.h"
#include "tree/inventory.h"

/* ---- a file that has another name ---- */

static const struct mount_at *mount_of_path(const struct mount_at *all, size_t n, const char *path)
{
	int id = mountinfo_mount_id(AT_FDCWD, path);

	for (size_t i = 0; i < n; i++)
		if (all[i].id == id)
			return &all[i];
	return NULL;
}

/* Below a mount that shows more of the file system: the path of another name of it, in the file system. */
static const char *search_below(struct dump *d, const struct mount_at *all, size_t n, const struct mount_at *top,
                                struct fd_info *info, const char *root)
{
	const char *rel = mountinfo_below(root, top->root), *path, *below;
	const struct mount_at *found;

	info->link = arena_printf(d->arena, "%s/%s", top->path[1] ? top->path : "", rel);
	path = file_names_other(d, info, info->link);
	found = path ? mount_of_path(all, n, path) : NULL;
	below = found && found->s_dev == top->s_dev ? mountinfo_below(path, found->path) : NULL;
	if (!below || strstr(found->root, MNT_DELETED))
		return NULL;
	return arena_printf(d->arena, "%s/%s", found->root[1] ? found->root : "", below);
}

static const char *search_in(struct dump *d, const struct mount_at *all, size_t n, const struct mount_at *m,
                             struct fd_info *info, const char *root)
{
	const char *path = NULL;

	for (size_t i = 0; !path && i < n; i++)
		if (all[i].s_dev == m->s_dev && mountinfo_below(root, all[i].root) && strcmp(root, all[i].root) &&
		    mountinfo_mount_id(AT_FDCWD, all[i].path) == all[i].id)
			path = search_below(d, all, n, &all[i], info, root);
	return path;
}

static const char *other_name(struct dump *d, const struct ns_root *ns, const struct mount_at *m, const MntEntry *e,
                              int fd, const struct stat *st)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(&ns->at);
	struct fd_info info = { .task = d->tree.tasks[0], .number = -1, .what = "a mount", .fd = fd, .st = *st };
	const char *path = search_in(d, ns->mounts, ns->n_mounts, m, &info, e->root);
	struct mount_at *own;
	size_t n;

	info.mnt_id = -1;
	lookup_in(NULL);
	if (!path && !ns_roots_own_mounts(d, &own, &n))
		path = search_in(d, own, n, m, &info, e->root);
	return path;
}

/* ---- all ---- */

static int keep_contents(struct dump *d, const char *who, int fd, MntEntry *e)
{
	inventory_only_ours(d);
	e->has_ghost = true;
	return MIN(ghost_keep(d, who, fd, &e->ghost), 0);
}

static int keep_deleted(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e, int fd)
{
	const char *who = arena_printf(d->arena, "mount namespace %u: %s (%s): what is mounted there, %s, was deleted",
	                               ns->id, m->path, m->type, e->root);
	struct stat st;

	if (fstat(fd, &st))
		return log_errno(-errno, "%s: fstat", who);
	if (!st.st_nlink || S_ISDIR(st.st_mode))
		return keep_contents(d, who, fd, e);
	inventory_only_ours(d);
	e->linked = (char *)other_name(d, ns, m, e, fd, &st);
	if (!e->linked)
		log_refusal(-ENOTSUP,
		            "%s, but has another name, which was not found; unmount it for the dump, or give "
		            "--external 'mnt[%s]:KEY'",
		            who, m->path);
	return 0;
}

/* No directory that is archived has it. */
static bool is_lone(const struct mnt_dump *all, const struct mount_at *m, const MntEntry *e)
{
	const struct fs_kind *kind = e->host_path || e->ext_mount ? NULL : fs_kind_of(e);

	return kind && kind->has_contents && m->root[1] && !mnt_is_within_another(all, m);
}

static int keep_lone(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e, int fd)
{
	const char *who = arena_printf(d->arena, "mount namespace %u: %s (%s)", ns->id, m->path, m->type);
	struct stat st;

	if (fstat(fd, &st))
		return log_errno(-errno, "%s: fstat", who);
	if (S_ISDIR(st.st_mode))
		return 0;
	if (st.st_nlink < 2)
		return keep_contents(d, who, fd, e);
	log_refusal(-ENOTSUP,
	            "%s: a file with %lu names, of a file system that is mounted nowhere with them; unmount it for the "
	            "dump, or give --external 'mnt[%s]:KEY'",
	            who, (unsigned long)st.st_nlink, m->path);
	return 0;
}

static int look_at(struct dump *d, const struct mnt_dump *all, const struct mnt_dumped *ns, size_t k)
{
	const struct mount_at *m = &ns->ns->mounts[k];
	MntEntry *e = ns->all[k];
	_cleanup_close_ int fd = -1;

	if (!e || (e->ext_mount && !e->host_path) || !(e->deleted || is_lone(all, m, e)))
		return 0;
	if (foreign_type(m->type)) {
		log_refusal(
		    -ENOTSUP,
		    "mount namespace %u: %s (%s): what is mounted there, %s, was deleted, and is on a file system "
		    "that may not answer; unmount it for the dump, or give --external 'mnt[%s]:KEY'",
		    ns->ns->id, m->path, m->type, e->root, m->path);
		return 0;
	}
	fd = bare_mount_open(d->arena, ns->ns->fd, ns->ns->mounts, ns->ns->n_mounts, m);
	if (fd < 0)
		return log_errno(fd, "mount namespace %u: %s (%s): open_tree", ns->ns->id, m->path, m->type);
	return e->deleted ? keep_deleted(d, ns->ns, m, e, fd) : keep_lone(d, ns->ns, m, e, fd);
}

int mnt_ghosts_collect(struct dump *d, const struct mnt_dump *all)
{
	int err = 0, part;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i].n; k++) {
			part = look_at(d, all, &all->ns[i], k);
			err = err ?: part;
		}
	return err;
}
