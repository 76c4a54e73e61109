/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore of what is mounted and was deleted. A mount can be attached only while its root has a name, so each gets one
 * of ours, which lasts until all are attached; then it gets its old name for an instant, for mountinfo to show, and
 * none.
 */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "mnt/mnt_ghosts.h"
#include "path/file_type.h"
#include "path/ghost.h"
#include "path/ghost_attrs.h"
#include "undo/guardian.h"

struct mnt_ghost {
	const MntEntry *e;
	const GhostFileEntry *entry; /* NULL: a link to a file of another name */
	const char *path;            /* where it is, below what the file system's mount shows */
	const char *shown;           /* where it was */
	bool is_dir;
	bool stays; /* a file that has its name */
	int fd;     /* O_PATH */
	int dir;    /* in which it is, and its name there */
	const char *base;
	int undo; /* -1: the file system ends with the restore */
	struct mnt_ghost *next;
};

/* ---- what there is ---- */

bool mnt_is_ghost(const struct mnt *m)
{
	return !m->given && (m->e->has_ghost || m->e->linked);
}

int mnt_ghosts_check(struct restore *r, const struct mnt *m)
{
	const MntEntry *e = m->e;
	GhostFileEntry *entry;
	int err;

	if (m->given || (!e->deleted && !e->has_ghost && !e->linked))
		return 0;
	if (!e->has_ghost && !e->linked)
		return log_refusal(-ENOTSUP,
		                   "mountpoints-%u.img: mount %s: what was mounted there, %s, was deleted, and the "
		                   "checkpoint has no contents of it; give --external 'mnt[%s]:PATH'",
		                   m->ns->id, e->mountpoint, e->root,
		                   e->ext_mount && e->ext_key ? e->ext_key : e->mountpoint);
	if (!mountinfo_below(e->root, m->super->root))
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s: %s is not below %s", m->ns->id, e->mountpoint,
		                 e->root, m->super->root);
	if (e->linked && !mountinfo_below(e->linked, m->super->root))
		return log_errno(-EINVAL, "mountpoints-%u.img: mount %s: %s is not below %s", m->ns->id, e->mountpoint,
		                 e->linked, m->super->root);
	if (!e->has_ghost)
		return 0;
	err = ghost_read_entry(r, e->ghost, &entry);
	if (!err && (S_ISSOCK(entry->mode) || S_ISLNK(entry->mode) || !(entry->mode & S_IFMT)))
		err = log_errno(-EINVAL, "ghost-file-%x.img: %s cannot be mounted", e->ghost,
		                file_type_name(entry->mode));
	return err;
}

static struct mnt_ghost *ghost_of_mount(const struct mnt *m)
{
	struct mnt_ghost *g = m->super->ghosts;

	while (g && (strcmp(g->e->root, m->e->root) || g->e->ghost != m->e->ghost))
		g = g->next;
	return g;
}

const char *mnt_ghost_path(const struct mnt *m)
{
	const struct mnt_ghost *g = ghost_of_mount(m);

	return g ? g->path : NULL;
}

/* ---- names ---- */

/* A file system of ours has its times from the archive. */
static void keep_times(const struct super *s, int dir, struct stat *st)
{
	st->st_mode = 0;
	if (s->kind && s->kind->has_contents && fstat(dir, st))
		st->st_mode = 0;
}

static void put_times_back(int dir, const struct stat *st)
{
	if (st->st_mode)
		utimensat(dir, ".", (const struct timespec[]) { st->st_atim, st->st_mtim }, 0);
}

/* Those that are there stay as they are. dir: "./a/b". */
static void make_dirs(int top, char *dir)
{
	for (char *base = dir + 2, *end; *base; base = end) {
		_cleanup_close_ int up = -1;
		char after;

		base[-1] = 0;
		up = lookup_open_below(top, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		base[-1] = '/';
		end = base + strcspn(base, "/");
		after = *end;
		*end = 0;
		if (up >= 0)
			mkdirat(up, base, 0755);
		*end = after;
		end += after != 0;
	}
}

static int open_parent(int top, const char *path, bool make)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int fd;

	if (strlen(path) + 2 >= sizeof(dir))
		return -ENAMETOOLONG;
	snprintf(dir, sizeof(dir), "./%.*s", slash ? (int)(slash - path) : 0, path);
	fd = lookup_open_below(top, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && make) {
		make_dirs(top, dir);
		fd = lookup_open_below(top, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	return fd < 0 ? -errno : fd;
}

static const char *base_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* addr and size: the number and device of the file, where they are known: another file of the name stays. */
static int remove_name(const struct undo *u)
{
	struct stat st;

	if (u->addr && (fstatat(u->fd, u->path, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) || st.st_ino != u->addr ||
	                st.st_dev != u->size))
		return -ENOENT;
	if (!unlinkat(u->fd, u->path, 0) || (errno == EISDIR && !unlinkat(u->fd, u->path, AT_REMOVEDIR)))
		return 0;
	return -errno;
}

/* A file system that others have, too, keeps what is made there. */
static int note_undo(struct restore *r, const struct super *s, struct mnt_ghost *g)
{
	struct undo u = { .type = UNDO_CALL, .call = remove_name, .fd = g->dir, .path = g->base };

	if (s->kind && s->kind->has_contents)
		return 0;
	g->undo = guardian_note(r->guardian, &u);
	return MIN(g->undo, 0);
}

/* Before it gets its old name, which may be another file's. *undo: -1 where none is needed. */
static int note_old_name(struct restore *r, const struct super *s, const struct mnt_ghost *g, int dir, int *undo)
{
	struct undo u = { .type = UNDO_CALL, .call = remove_name, .fd = dir, .path = base_of(g->shown) };
	struct stat st;

	if (s->kind && s->kind->has_contents)
		return 0;
	if (fstat(g->fd, &st))
		return -errno;
	u.addr = st.st_ino;
	u.size = st.st_dev;
	*undo = guardian_note(r->guardian, &u);
	return MIN(*undo, 0);
}

/* ---- making ---- */

static int create_ghost(const struct mnt_ghost *g)
{
	mode_t type = g->entry->mode & S_IFMT;
	int fd = -1, err = 0;

	if (S_ISREG(type))
		fd = openat(g->dir, g->base, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	else if (S_ISDIR(type))
		err = mkdirat(g->dir, g->base, 0700);
	else
		err = mknodat(g->dir, g->base, type | 0600, g->entry->has_rdev ? g->entry->rdev : 0);
	if (!S_ISREG(type) && !err)
		fd = openat(g->dir, g->base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "mount %s: %s of %s, which was deleted", g->e->mountpoint,
	                          !err            ? "openat"
	                          : S_ISDIR(type) ? "mkdirat"
	                                          : "mknodat",
	                          g->base)
	              : fd;
}

static int link_ghost(const struct super *s, const struct mnt_ghost *g, const char *from)
{
	_cleanup_close_ int dir = open_parent(mnt_super_dir(s), from, false);

	if (dir < 0 || linkat(dir, base_of(from), g->dir, g->base, 0))
		return log_errno(dir < 0 ? dir : -errno, "mount %s: linkat of %s", g->e->mountpoint, from);
	return 0;
}

/* Another mount of the same file, under another name. */
static const struct mnt_ghost *same_file(const struct super *s, const struct mnt_ghost *g)
{
	for (const struct mnt_ghost *o = s->ghosts; o; o = o->next)
		if (o->entry && o->fd >= 0 && !o->is_dir && o->e->ghost == g->e->ghost)
			return o;
	return NULL;
}

static int fill_ghost(struct restore *r, const struct super *s, struct mnt_ghost *g)
{
	const struct mnt_ghost *same = g->entry ? same_file(s, g) : NULL;
	_cleanup_close_ int fd = -1;
	int err;

	if (same)
		return link_ghost(s, g, same->path);
	if (!g->entry)
		return link_ghost(s, g, mountinfo_below(g->e->linked, s->root));
	fd = create_ghost(g);
	fault_point("mounted ghost has a name of ours");
	err = fd < 0 ? fd : ghost_fill(r, g->e->ghost, g->entry, g->e->root, fd);
	return err;
}

static int make_ghost(struct restore *r, struct super *s, struct mnt_ghost *g)
{
	struct stat times;
	int err;

	g->dir = open_parent(mnt_super_dir(s), g->path, g->stays);
	if (g->dir < 0)
		return log_errno(g->dir, "mount %s: open of a directory for %s", g->e->mountpoint, g->path);
	keep_times(s, g->dir, &times);
	err = note_undo(r, s, g) ?: fill_ghost(r, s, g);
	put_times_back(g->dir, &times);
	if (err)
		return err;
	g->fd = openat(g->dir, g->base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return g->fd < 0 ? log_errno(-errno, "mount %s: open of %s", g->e->mountpoint, g->path) : 0;
}

/* In the directory where it was, if that is there; else at the top. */
static const char *name_for_now(struct restore *r, const struct super *s, const char *shown)
{
	const char *slash = strrchr(shown, '/');
	_cleanup_close_ int dir = open_parent(mnt_super_dir(s), shown, false);
	size_t n = 0;

	for (const struct mnt_ghost *g = s->ghosts; g; g = g->next)
		n++;
	return arena_printf(r->arena, "%.*s.criu-mounted-%d-%x-%zu", dir >= 0 && slash ? (int)(slash + 1 - shown) : 0,
	                    shown, (int)getpid(), s->dev, n);
}

static int add_ghost(struct restore *r, struct super *s, const struct mnt *m)
{
	struct mnt_ghost *g = arena_new_of(r->arena, struct mnt_ghost);
	GhostFileEntry *entry = NULL;
	int err = m->e->has_ghost ? ghost_read_entry(r, m->e->ghost, &entry) : 0;

	if (err)
		return err;
	*g = (struct mnt_ghost) { .e = m->e, .entry = entry, .fd = -1, .dir = -1, .undo = -1 };
	g->shown = mountinfo_below(m->e->root, s->root);
	g->stays = !m->e->deleted;
	g->is_dir = entry && S_ISDIR(entry->mode);
	g->path = g->stays ? g->shown : name_for_now(r, s, g->shown);
	g->base = base_of(g->path);
	err = make_ghost(r, s, g);
	g->next = s->ghosts;
	s->ghosts = g;
	return err;
}

int mnt_ghosts_make(struct restore *r, struct super *s)
{
	const struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; !err && k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			if (m->super == s && mnt_is_ghost(m) && !ghost_of_mount(m))
				err = add_ghost(r, s, m);
		}
	return err;
}

/* ---- the old names, and none ---- */

/* How much of the path of its directory exists; all of it: the length of the path. */
static size_t length_there(const struct super *s, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		char dir[PATH_MAX];
		_cleanup_close_ int fd = -1;

		snprintf(dir, sizeof(dir), "./%.*s", (int)(slash - path), path);
		fd = lookup_open_below(mnt_super_dir(s), dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return (size_t)(slash - path);
	}
	return strlen(path);
}

/* Those that were made, the lower ones first. */
static void remove_made(const struct super *s, const char *path, size_t from)
{
	char dir[PATH_MAX];
	char *slash;

	if (strlen(path) >= sizeof(dir))
		return;
	strcpy(dir, path);
	while ((slash = strrchr(dir, '/')) && (size_t)(slash - dir) >= from) {
		_cleanup_close_ int up = -1;

		*slash = 0;
		up = open_parent(mnt_super_dir(s), dir, false);
		if (up >= 0)
			unlinkat(up, base_of(dir), AT_REMOVEDIR);
	}
}

/* What has the name now comes back to it: only in a file system that nobody else has. */
static int name_for_an_instant(const struct super *s, struct mnt_ghost *g, int dir, bool *swapped)
{
	const char *name = base_of(g->shown);
	bool is_ours = s->kind && s->kind->has_contents;

	*swapped = false;
	if (!renameat2(g->dir, g->base, dir, name, RENAME_NOREPLACE))
		return 0;
	if (errno != EEXIST || !is_ours || renameat2(g->dir, g->base, dir, name, RENAME_EXCHANGE))
		return -errno;
	*swapped = true;
	return 0;
}

static int remove_ghost_at(const struct mnt_ghost *g, int dir, const char *name)
{
	if (unlinkat(dir, name, g->is_dir ? AT_REMOVEDIR : 0))
		return log_errno(-errno, "mount %s: unlinkat of %s", g->e->mountpoint, name);
	return 0;
}

static int remove_by_old_name(struct mnt_ghost *g, int dir, bool swapped)
{
	const char *name = base_of(g->shown);
	int err = remove_ghost_at(g, dir, name);

	if (swapped && renameat2(g->dir, g->base, dir, name, RENAME_NOREPLACE))
		err = err ?: log_errno(-errno, "mount %s: renameat2 of %s", g->e->mountpoint, name);
	return err;
}

/* With several mount namespaces a file system is kept by another mount than at first, and names move within one. */
static void follow_super(const struct super *s, struct mnt_ghost *g)
{
	_cleanup_close_ int dir = open_parent(mnt_super_dir(s), g->path, false);

	if (dir >= 0)
		dup3(dir, g->dir, O_CLOEXEC); /* the guardian knows its number */
}

static int finish_ghost(struct restore *r, const struct super *s, struct mnt_ghost *g)
{
	bool is_ours = s->kind && s->kind->has_contents, swapped = false;
	size_t made = is_ours ? length_there(s, g->shown) : strlen(g->shown);
	const char *first = arena_printf(r->arena, "%.*s", (int)made, g->shown);
	_cleanup_close_ int there = open_parent(mnt_super_dir(s), first, false), dir = -1;
	struct stat times, old_times = { 0 };
	int err, undo = -1;

	follow_super(s, g);
	keep_times(s, g->dir, &times);
	if (there >= 0)
		keep_times(s, there, &old_times);
	dir = open_parent(mnt_super_dir(s), g->shown, is_ours);
	err = dir < 0 ? dir : note_old_name(r, s, g, dir, &undo);
	err = err ?: name_for_an_instant(s, g, dir, &swapped);
	fault_point("mounted ghost has its old name");
	if (err)
		log_info("mount %s: mountinfo shows another name for what was deleted (%s): renameat2: %s",
		         g->e->mountpoint, g->shown, strerror(-err));
	err = err ? remove_ghost_at(g, g->dir, g->base) : remove_by_old_name(g, dir, swapped);
	remove_made(s, g->shown, made);
	put_times_back(g->dir, &times);
	if (there >= 0)
		put_times_back(there, &old_times);
	if (undo >= 0) /* its directory is closed now */
		guardian_drop(r->guardian, undo);
	if (!err && g->undo >= 0)
		guardian_drop(r->guardian, g->undo);
	return err;
}

static void set_flags(const struct mnt_ghost *g)
{
	if (g->entry)
		ghost_attrs_set_inode_flags(g->entry, g->e->root, g->fd);
}

static int finish_super(struct restore *r, struct super *s)
{
	int err = 0;

	for (struct mnt_ghost *g = s->ghosts; !err && g; g = g->next) {
		err = g->stays ? 0 : finish_ghost(r, s, g);
		if (!err)
			set_flags(g);
	}
	return err;
}

int mnt_ghosts_finish(struct restore *r)
{
	int err = 0;

	for (struct super *s = mnt_of(r)->supers; !err && s; s = s->next)
		err = s->ghosts ? mnt_as_inside(r, s, finish_super) : 0;
	return err;
}

void mnt_ghosts_close(struct super *s)
{
	for (struct mnt_ghost *g = s->ghosts; g; g = g->next) {
		mnt_close(&g->fd);
		mnt_close(&g->dir);
	}
}
