/* SPDX-License-Identifier: GPL-2.0-only */
/* Ghosts at restore: reading and opening them; ghost_make.c makes them. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/lookup.h"
#include "path/file_type.h"
#include "path/ghost_attrs.h"
#include "path/ghost_make.h"
#include "path/named_file.h"
#include "remap-file-path.pb-c.h"
#include "tree/subsys.h"

/* A file of files.img that is a ghost. */
struct ghost_user {
	uint32_t id;
	struct ghost *ghost;
	UT_hash_handle hh;
};

struct ghosts {
	struct ghost *by_id;
	struct ghost *by_link; /* by the id of the file that is the link */
	struct ghost_user *users;
};

extern const struct subsys ghost_restore_subsys;

static struct ghosts *ghosts_of(struct restore *r)
{
	return restore_state(r, &ghost_restore_subsys);
}

struct ghost *ghost_of(struct restore *r, uint32_t id)
{
	struct ghosts *all = ghosts_of(r);
	struct ghost_user *u;

	HASH_FIND_INT(all->users, &id, u);
	return u ? u->ghost : NULL;
}

/* ---- reading ---- */

int ghost_read_entry(struct restore *r, uint32_t id, GhostFileEntry **e)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_GHOST_FILE, id, &img);

	if (err)
		return err == -ENOENT ? log_errno(err,
		                                  "ghost-file-%x.img, which other images name, is missing: the "
		                                  "checkpoint is incomplete",
		                                  id)
		                      : err;
	err = image_read(img, &ghost_file_entry__descriptor, r->arena, e);
	if (err <= 0)
		return err ?: log_errno(-ENODATA, "%s is empty", image_name(img));
	if ((*e)->has_size && (*e)->size > INT64_MAX)
		return log_errno(-EINVAL, "%s: a size of %llu", image_name(img), (unsigned long long)(*e)->size);
	return 0;
}

static int read_ghost(struct restore *r, uint32_t id, struct ghost **gp)
{
	struct ghost *g;
	int err;

	HASH_FIND_INT(ghosts_of(r)->by_id, &id, g);
	*gp = g;
	if (g)
		return 0;
	g = *gp = arena_new_of(r->arena, struct ghost);
	g->id = id;
	g->base = g->first = -1;
	err = ghost_read_entry(r, id, &g->entry);
	if (err)
		return err;
	HASH_ADD_IN(r->arena, hh, ghosts_of(r)->by_id, id, sizeof(g->id), g);
	return 0;
}

static int read_linked(struct restore *r, uint32_t id, struct ghost **gp)
{
	const struct fd_kind *kind = NULL;
	const RegFileEntry *link = files_message(r, id, &kind);
	struct ghost *g;

	HASH_FIND_INT(ghosts_of(r)->by_link, &id, g);
	*gp = g;
	if (g)
		return 0;
	if (!link || kind != kind_by_fd_type(FD_TYPES__REG) || link->name[0] != '/')
		return log_errno(-EINVAL, "remap-fpath.img: file %u, another name of a file, is not a path", id);
	g = *gp = arena_new_of(r->arena, struct ghost);
	g->id = id;
	g->base = g->first = -1;
	g->link = link;
	HASH_ADD_IN(r->arena, hh, ghosts_of(r)->by_link, id, sizeof(g->id), g);
	return 0;
}

static int add_user(struct restore *r, const RemapFilePathEntry *e)
{
	const struct fd_kind *kind = NULL;
	const RegFileEntry *m = files_message(r, e->orig_id, &kind);
	struct ghost_user *u;
	struct ghost *g;
	int err;

	if (e->has_remap_type && e->remap_type == REMAP_TYPE__PROCFS)
		return 0; /* path/procfile.c */
	if (!m || kind != kind_by_fd_type(FD_TYPES__REG) || ghost_of(r, e->orig_id))
		return log_errno(-EINVAL, "remap-fpath.img: file %u is a duplicate, or not a regular file", e->orig_id);
	if (e->has_remap_type && e->remap_type == REMAP_TYPE__GHOST)
		err = read_ghost(r, e->remap_id, &g);
	else
		err = read_linked(r, e->remap_id, &g);
	if (err)
		return err;
	if (!g->name)
		g->name = m->name;
	/* The description by which O_TMPFILE made the file: no other way to open it gives these flags. */
	if (g->entry && S_ISREG(g->entry->mode) && (m->flags & O_TMPFILE) == O_TMPFILE && !(m->flags & O_PATH) &&
	    (m->flags & O_ACCMODE) != O_RDONLY) {
		g->has_maker = true;
		g->maker = m->id;
		g->maker_flags = m->flags;
	}
	u = arena_new_of(r->arena, struct ghost_user);
	u->id = e->orig_id;
	u->ghost = g;
	HASH_ADD_IN(r->arena, hh, ghosts_of(r)->users, id, sizeof(u->id), u);
	return 0;
}

int ghost_read_images(struct restore *r)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_REMAP_FPATH, 0, &img);
	RemapFilePathEntry *e;

	if (err)
		return err == -ENOENT ? 0 : err;
	while ((err = image_read(img, &remap_file_path_entry__descriptor, r->arena, &e)) > 0) {
		err = add_user(r, e);
		if (err)
			return err;
	}
	return err;
}

/* ---- checking ---- */

int ghost_check(struct restore *r, const struct ghost *g, const char **why)
{
	const char *dir;

	if (g->link)
		return named_file_check(r, g->link, why);
	if (S_ISSOCK(g->entry->mode) || !(g->entry->mode & S_IFMT)) {
		*why = arena_printf(r->arena, "%s was deleted; %s cannot be made again (ghost-file-%x.img)", g->name,
		                    file_type_name(g->entry->mode), g->id);
		return -ENOTSUP;
	}
	if (S_ISLNK(g->entry->mode) && !g->entry->symlnk_target) {
		*why = arena_printf(r->arena, "%s was deleted, and ghost-file-%x.img does not tell where it led",
		                    g->name, g->id);
		return -EINVAL;
	}
	if (g->name[0] != '/' || (g->entry->dir && g->entry->dir[0] != '/')) {
		*why =
		    arena_printf(r->arena, "%s (deleted, ghost-file-%x.img): the path is not absolute", g->name, g->id);
		return -EINVAL;
	}
	dir = ghost_dir(r, g);
	if (access(lookup_path(dir), W_OK | X_OK)) {
		*why = arena_printf(r->arena, "%s was deleted, and cannot be made again in %s: %s", g->name, dir,
		                    strerror(errno));
		return -EACCES;
	}
	return 0;
}

/* ---- opening ---- */

static int make_once(struct restore *r, struct ghost *g)
{
	const char *before;
	int err;

	if (g->base >= 0)
		return 0;
	before = log_about_too(arena_printf(r->arena, "files.img, or ghost-file-%x.img", g->id));
	err = ghost_make(r, g, ghosts_of(r)->by_id);
	log_about_too(before);
	return err;
}

int ghost_open(struct restore *r, struct ghost *g, const RegFileEntry *m, uint32_t flags)
{
	bool is_dir = g->entry && S_ISDIR(g->entry->mode);
	uint32_t how = flags & ~(uint32_t)(O_CREAT | O_EXCL | O_TRUNC | O_ASYNC | O_TMPFILE | O_NOFOLLOW);
	int err = make_once(r, g), fd;
	char path[32];

	if (err)
		return err;
	if (g->first >= 0 && g->maker == m->id && flags == g->maker_flags)
		return move_fd(&g->first);
	/* O_NOFOLLOW is shown, but open() through /proc does not set it: base was opened with it. */
	if (g->entry && S_ISLNK(g->entry->mode) && (flags & O_NOFOLLOW) && !g->base_taken) {
		g->base_taken = true;
		fd = fcntl(g->base, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? log_errno(-errno, "%s (deleted): fcntl(F_DUPFD_CLOEXEC)", m->name) : fd;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", g->base);
	fd = open(path, (int)(how | (is_dir ? flags & O_DIRECTORY : 0) | O_NOCTTY | O_CLOEXEC));
	return fd < 0 ? log_errno(-errno, "open of %s (deleted, flags 0%o)", m->name, flags) : fd;
}

static void close_ghost_list(struct ghost *list)
{
	for (struct ghost *g = list; g; g = g->hh.next) {
		if (g->entry && g->base >= 0)
			ghost_attrs_set_inode_flags(g->entry, g->name, g->base);
		cleanup_close(&g->base);
		cleanup_close(&g->first);
		g->base = g->first = -1;
	}
}

/* Closes what keeps ghosts alive: every file that is one was installed, or the restore has failed. */
static void close_ghosts(struct restore *r)
{
	struct ghosts *all = ghosts_of(r);

	close_ghost_list(all->by_id);
	close_ghost_list(all->by_link);
}

static int close_ghosts_at_end(struct restore *r)
{
	int err = 0;

	for (struct ghost *g = ghosts_of(r)->by_link; g && !err; g = g->hh.next)
		err = ghost_link_note(r, g);
	close_ghosts(r);
	return err;
}

static void remove_links(struct restore *r)
{
	for (const struct ghost *g = ghosts_of(r)->by_link; g; g = g->hh.next)
		ghost_link_remove(g);
}

const struct subsys ghost_restore_subsys = {
	.name = "ghosts",
	.state = { .restore = sizeof(struct ghosts) },
	.all_standing = close_ghosts_at_end,
	.committed = remove_links,
	.undo = close_ghosts,
};
