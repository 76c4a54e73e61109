/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inode flags of files in a tmpfs of the tree's own (chattr(1): immutable, append only, ...), which tar(1) leaves out.
 * They are set when all files are open: what is immutable cannot be opened for writing, nor get another name.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/lookup.h"
#include "mnt/mnt_dump.h"
#include "tree/inventory.h"

/* What a user sets on an existing file; the rest is the file system's own. */
#define KEPT_FLAGS 0xf8U

struct flags_walk {
	struct dump *d;
	MntEntry *e;
	dev_t dev;
};

static void note_flags(struct flags_walk *w, int fd, const char *path)
{
	MntFlagsEntry *f;
	int flags = 0;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) || !((uint32_t)flags & KEPT_FLAGS))
		return;
	f = arena_msg(w->d->arena, MntFlagsEntry, mnt_flags_entry);
	f->path = arena_strdup(w->d->arena, path);
	f->flags = (uint32_t)flags & KEPT_FLAGS;
	arena_push(w->d->arena, &w->e->inode_flags, &w->e->n_inode_flags, f);
	inventory_only_ours(w->d);
}

static int walk_flags(struct flags_walk *w, int fd, const char *path, int depth);

static int look_at_entry(struct flags_walk *w, int dir, const struct dirent *e, const char *path, int depth)
{
	const int how = O_RDONLY | O_NONBLOCK | O_NOATIME | O_NOFOLLOW | O_CLOEXEC;
	const char *below = arena_printf(w->d->arena, "%s%s%s", path, *path ? "/" : "", e->d_name);
	_cleanup_close_ int fd = openat(dir, e->d_name, e->d_type == DT_DIR ? how | O_DIRECTORY : how);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) || st.st_dev != w->dev)
		return 0;
	if (S_ISDIR(st.st_mode))
		return walk_flags(w, move_fd(&fd), below, depth + 1);
	note_flags(w, fd, below);
	return 0;
}

/* fd is used up. */
static int walk_flags(struct flags_walk *w, int fd, const char *path, int depth)
{
	DIR *dir = mnt_walk_open(fd, depth);
	struct dirent *e;
	int err = dir ? 0 : -errno;

	if (dir)
		note_flags(w, fd, path);
	while (!err && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && (e->d_type == DT_DIR || e->d_type == DT_REG))
			err = look_at_entry(w, fd, e, path, depth);
	if (dir)
		closedir(dir);
	return err;
}

int mnt_inode_flags_dump(struct dump *d, const char *who, int dir, MntEntry *e)
{
	struct flags_walk w = { .d = d, .e = e };
	struct stat st;
	int err;

	if (fstat(dir, &st))
		return log_errno(-errno, "%s: fstat", who);
	if (!S_ISDIR(st.st_mode))
		return 0;
	w.dev = st.st_dev;
	err = walk_flags(&w, openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0);
	return err ? log_errno(err, "%s: looking for inode flags", who) : 0;
}

/* ---- restore ---- */

static int set_flags(const struct super *s, const MntEntry *e, const MntFlagsEntry *f)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	int flags;

	snprintf(path, sizeof(path), "./%s/%s", mountinfo_below(e->root, "/"), f->path);
	fd = lookup_open_below(mnt_super_dir(s), path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return log_errno(-errno, "mount %s: open of %s, which had inode flags (chattr)", e->mountpoint,
		                 f->path);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return log_errno(-errno, "mount %s: %s: ioctl(FS_IOC_GETFLAGS)", e->mountpoint, f->path);
	flags = (int)(((uint32_t)flags & ~KEPT_FLAGS) | (f->flags & KEPT_FLAGS));
	return ioctl(fd, FS_IOC_SETFLAGS, &flags)
	           ? log_errno(-errno, "mount %s: %s: ioctl(FS_IOC_SETFLAGS, 0x%x)", e->mountpoint, f->path, f->flags)
	           : 0;
}

int mnt_inode_flags_restore(struct restore *r, const struct super *s)
{
	const struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			for (size_t j = 0; !err && m->super == s && j < m->e->n_inode_flags; j++)
				err = set_flags(s, m->e, m->e->inode_flags[j]);
		}
	return err;
}

/* Those of file systems that can be written to; the others had them when they were filled. */
int mnt_inode_flags_finish(struct restore *r)
{
	int err = 0;

	for (const struct super *s = mnt_of(r)->supers; !err && s; s = s->next)
		if (s->kind && s->kind->has_contents && s->fd >= 0 && !(s->first->sb_flags & MS_RDONLY))
			err = mnt_inode_flags_restore(r, s);
	return err;
}
