/* SPDX-License-Identifier: GPL-2.0-only */
/* Making ghosts again that are not regular files: FIFOs, devices, symbolic links, directories. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/file_type.h"
#include "path/ghost_attrs.h"
#include "path/ghost_make.h"

static char *name_of_ours(struct restore *r, const struct ghost *g)
{
	const char *dir = ghost_dir(r, g);

	return arena_printf(r->arena, "%s/.criu-ghost-%d-%x", strcmp(dir, "/") ? dir : "", (int)getpid(), g->id);
}

static int create_node(const struct ghost *g, const char *path)
{
	const GhostFileEntry *e = g->entry;
	const char *call;
	int err;

	if (S_ISLNK(e->mode)) {
		call = "symlink";
		err = symlink(e->symlnk_target, lookup_path(path));
	} else if (S_ISDIR(e->mode)) {
		call = "mkdir";
		err = mkdir(lookup_path(path), 0700);
	} else {
		call = "mknod";
		err = mknod(lookup_path(path), (e->mode & S_IFMT) | 0600, e->has_rdev ? e->rdev : 0);
	}
	/* lint: allow: the call is in the text */
	return err ? log_errno(-errno, "%s (deleted): %s of %s (%s)", g->name, call, path, file_type_name(e->mode)) : 0;
}

int ghost_make_node(struct restore *r, struct ghost *g)
{
	struct undo u = { .type = UNDO_UNLINK, .fd = -1, .path = lookup_path(name_of_ours(r, g)) };
	int number = guardian_note(r->guardian, &u), err;
	_cleanup_close_ int fd = -1;

	if (number < 0)
		return number;
	err = create_node(g, u.path);
	fault_point("ghost has a name of ours");
	if (!err) {
		fd = open(u.path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		err = fd < 0 ? log_errno(-errno, "%s (deleted): open of %s", g->name, u.path) : 0;
	}
	if (!err)
		g->base = ghost_open_by_name(r, g, fd);
	if (unlink(u.path) && !err)
		err = log_errno(-errno, "%s (deleted): unlink of %s", g->name, u.path);
	guardian_drop(r->guardian, number);
	if (!err && g->base < 0)
		g->base = move_fd(&fd);
	return err ?: ghost_attrs_restore(g->entry, g->name, g->base);
}

/* ---- directories ---- */

/* A directory while it has a name. */
struct named_dir {
	struct ghost *g;
	struct stat st;
	const char *path[2]; /* ours, and its own */
	int undo[2];
};

static int rmdir_ours(const struct undo *u)
{
	const struct stat *ours = u->data;
	struct stat st;

	if (lstat(u->path, &st) || st.st_dev != ours->st_dev || st.st_ino != ours->st_ino)
		return -ENOENT;
	return rmdir(u->path) ? -errno : 0;
}

static int rmdir_any(const struct undo *u)
{
	return rmdir(u->path) ? -errno : 0;
}

/* To its own name, if that is free: /proc goes on to show it, and directories that were in it can be made in it. */
static void rename_dir(struct restore *r, struct named_dir *n)
{
	struct undo u = { .type = UNDO_CALL, .call = rmdir_ours, .fd = -1, .path = lookup_path(n->g->name) };

	u.data = &n->st;
	u.data_len = sizeof(n->st);
	n->undo[1] = guardian_note(r->guardian, &u);
	if (n->undo[1] < 0 || renameat2(AT_FDCWD, lookup_path(n->path[0]), AT_FDCWD, u.path, RENAME_NOREPLACE))
		log_info("%s (deleted): /proc shows another name of it now: renameat2: %s", n->g->name,
		         strerror(errno));
	else
		n->path[1] = n->g->name;
	fault_point("ghost has its name");
}

static int make_dir(struct restore *r, struct named_dir *n)
{
	struct undo u = { .type = UNDO_CALL, .call = rmdir_any, .fd = -1 };
	int err;

	n->path[0] = name_of_ours(r, n->g);
	u.path = lookup_path(n->path[0]);
	n->undo[1] = -1;
	n->undo[0] = guardian_note(r->guardian, &u);
	if (n->undo[0] < 0)
		return n->undo[0];
	err = create_node(n->g, u.path);
	if (err)
		return err;
	fault_point("ghost has a name of ours");
	n->g->base = open(u.path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (n->g->base < 0 || fstat(n->g->base, &n->st))
		return log_errno(-errno, "%s (deleted): open of %s", n->g->name, u.path);
	rename_dir(r, n);
	return 0;
}

static int remove_dir(struct restore *r, struct named_dir *n)
{
	const char *path = n->path[1] ?: n->path[0];
	int err = n->g->base >= 0 && rmdir(lookup_path(path)) ? -errno : 0;

	guardian_drop(r->guardian, n->undo[1]);
	guardian_drop(r->guardian, n->undo[0]);
	return err ? log_errno(err, "%s (deleted): rmdir of %s", n->g->name, path) : 0;
}

static int by_length(const void *a, const void *b)
{
	const struct named_dir *x = a, *y = b;
	size_t n = strlen(x->g->name), m = strlen(y->g->name);

	return n < m ? -1 : n > m;
}

/* Upper directories first, so that those below are made in them; then they are removed, the lower ones first. */
int ghost_make_dirs(struct restore *r, struct ghost *list)
{
	struct named_dir *dirs = NULL;
	size_t n = 0, made = 0;
	int err = 0, part;

	for (struct ghost *g = list; g; g = g->hh.next) {
		struct named_dir one = { .g = g };

		if (S_ISDIR(g->entry->mode) && g->base < 0 && g->name[0] == '/')
			arena_push(r->arena, &dirs, &n, one);
	}
	qsort(dirs, n, sizeof(*dirs), by_length);
	while (made < n && !err)
		err = make_dir(r, &dirs[made++]);
	while (made) {
		part = remove_dir(r, &dirs[--made]);
		err = err ?: part;
	}
	for (size_t i = 0; i < n && !err; i++)
		err = ghost_attrs_restore(dirs[i].g->entry, dirs[i].g->name, dirs[i].g->base);
	return err;
}
