/* SPDX-License-Identifier: GPL-2.0-only */
/* Files by path at dump: is the file where its path says, elsewhere, or gone? */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "options/external.h"
#include "path/file_names.h"
#include "path/ghost.h"
#include "path/link_remap.h"
#include "lib/log.h"
#include "files/long_path.h"
#include "proc/mountinfo.h"
#include "path/pathfile.h"
#include "path/validate.h"
#include "proc/fdinfo.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* The magic number of its file system: one that does not answer is a FUSE without its server. */
static long magic_of(const struct fd_info *info)
{
	struct statfs fs;

	return fstatfs(info->fd, &fs) ? FUSE_SUPER_MAGIC : (long)fs.f_type;
}

static bool is_cgroup(long magic)
{
	return magic == CGROUP_SUPER_MAGIC || magic == CGROUP2_SUPER_MAGIC;
}

/* ---- what is in the way ---- */

/* The first directory on the way, from its end on, that another mount than the file's begins with; NULL: none. */
static const char *mount_over(struct dump *d, const struct fd_info *info)
{
	int own = info->mnt_id >= 0 ? info->mnt_id : mountinfo_mount_id(info->fd, "");
	struct mount_at *mounts = NULL;
	const char *over = NULL;
	size_t n = 0, len = 0;

	if (mountinfo_read(d->arena, &mounts, &n))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t m = strlen(mounts[i].path);

		if (mounts[i].id != own && m >= len && m > 1 && !strncmp(info->link, mounts[i].path, m) &&
		    (!info->link[m] || info->link[m] == '/')) {
			len = m;
			over = mounts[i].path;
		}
	}
	return over && mountinfo_mount_id(AT_FDCWD, over) != own ? over : NULL;
}

static void refuse_other(struct dump *d, const struct fd_info *info)
{
	const struct stat *st = &info->st;
	const char *over = mount_over(d, info);
	struct stat now;
	int err = long_path_stat(info->link, S_ISLNK(st->st_mode) ? AT_SYMLINK_NOFOLLOW : 0, &now);

	if (over)
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: a mount is in the way, over %s: the path does not lead to it any more, and no other "
		    "name of it is known; take that mount away for the dump",
		    fd_name(info), info->link, over);
	else if (err)
		log_refusal(err,
		            "%s: %s: cannot be reached by its path, and no other name of it is known; run the "
		            "tool where it can be reached",
		            fd_name(info), info->link);
	else
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: another file is in the way there (%s, inode %lu on %u:%u instead of %lu on %u:%u), "
		    "and no other name of it is known; move that away for the dump",
		    fd_name(info), info->link, pathfile_type_name(now.st_mode), (unsigned long)now.st_ino,
		    major(now.st_dev), minor(now.st_dev), (unsigned long)st->st_ino, major(st->st_dev),
		    minor(st->st_dev));
}

/* ---- where it is ---- */

enum place { AT_NAME, IS_GHOST, IS_LINK, BY_PATH, REFUSED };

/* What has names, none of which leads to it as far as we can see. */
static enum place without_name(struct dump *d, const struct fd_info *info, long magic)
{
	unsigned long left = info->st.st_nlink;

	if (!ends_with(info->link, PROC_DELETED)) {
		refuse_other(d, info);
		return REFUSED;
	}
	if (d->opts->ghost_links)
		return IS_GHOST;
	if (d->opts->link_remap && !S_ISDIR(info->st.st_mode))
		return IS_LINK;
	/* There a deleted file of a lower layer is still counted as one. */
	if (magic == OVERLAYFS_SUPER_MAGIC && left == 1)
		return IS_GHOST;
	log_refusal(
	    -ENOTSUP,
	    "%s: %s: this name was deleted, %lu other%s left which cannot be found; give --link-remap (makes a "
	    "link to it, which has to stay as long as the images), or --ghost-links (saves what is in it: it will "
	    "no longer be the same file as under its other names)",
	    fd_name(info), info->link, left, left > 1 ? "s are" : " is");
	return REFUSED;
}

/*
 * Where a deleted file could not be opened any more, it gets such a name until it is closed. It is gone when the tree
 * is.
 */
static bool is_hidden(const char *name, long magic)
{
	const char *base = strrchr(name, '/');
	const char *start = magic == NFS_SUPER_MAGIC ? "/.nfs" : magic == FUSE_SUPER_MAGIC ? "/.fuse_hidden" : NULL;
	size_t n = start ? strlen(start) : 0;

	return n && base && !strncmp(base, start, n) && base[n] &&
	       strspn(base + n, "0123456789abcdefABCDEF") == strlen(base + n);
}

/*
 * A FUSE that denies that the file is there, or cannot be asked: lxcfs does so to whoever is outside of a container,
 * others while they are started again. Not where its path leads to another mount, nor what it has seen unlinked.
 */
static bool is_denied(const struct fd_info *info, const char *name)
{
	int own = info->mnt_id >= 0 ? info->mnt_id : mountinfo_mount_id(info->fd, ""), err, mount;
	struct stat st;

	if (info->st.st_mode && !info->st.st_nlink)
		return false;
	err = -long_path_stat(name, AT_SYMLINK_NOFOLLOW, &st);
	mount = err ? own : mountinfo_mount_id(AT_FDCWD, name);
	if (mount != own || (!err && info->st.st_mode && (st.st_mode ^ info->st.st_mode) & S_IFMT))
		return false;
	log_warn("%s: %s: its file system (FUSE) %s%s: it is taken for there, and opened by its path at restore",
	         fd_name(info), info->link, err ? "says " : "shows another inode number there",
	         err ? strerror(err) : "");
	return true;
}

/* The path does not lead to it. */
static enum place elsewhere(struct dump *d, const struct fd_info *info, const char **name)
{
	bool marked = ends_with(info->link, PROC_DELETED);
	long magic = magic_of(info);
	const char *other;

	if (is_cgroup(magic)) {
		log_refusal(-ENOTSUP,
		            "%s: %s: its cgroup was removed, and cannot be made again with its state; close it before "
		            "the dump",
		            fd_name(info), info->link);
		return REFUSED;
	}
	*name = file_names_unmark(d->arena, info->link);
	if (magic == FUSE_SUPER_MAGIC && info->st.st_nlink && marked) {
		other = file_name_beside(d, info, *name);
		if (other && is_hidden(other, magic))
			return IS_GHOST;
	}
	if (magic == FUSE_SUPER_MAGIC && is_denied(info, *name))
		return BY_PATH;
	if (!info->st.st_nlink || (S_ISDIR(info->st.st_mode) && marked))
		return IS_GHOST;
	other = file_other_name(d, info, *name);
	if (!other)
		return without_name(d, info, magic);
	log_info("%s: %s: found by another name: %s", fd_name(info), info->link, other);
	*name = other;
	return AT_NAME;
}

static enum place find_place(struct dump *d, const struct fd_info *info, const char **name)
{
	*name = arena_strdup(d->arena, info->link);
	if (info->link[0] != '/') {
		log_refusal(-ENOTSUP, "%s: %s: lies outside of the tool's root; run the tool where it can be reached",
		            fd_name(info), info->link);
		return REFUSED;
	}
	if (long_path_leads_to(*name, &info->st))
		return is_hidden(*name, magic_of(info)) ? IS_GHOST : AT_NAME;
	if (!ends_with(info->link, PROC_DELETED))
		return elsewhere(d, info, name);
	*name = file_names_unmark(d->arena, info->link);
	if (!long_path_leads_to(*name, &info->st))
		return elsewhere(d, info, name);
	log_info("%s: %s: only looks deleted: the file is there", fd_name(info), info->link);
	return AT_NAME;
}

/* ask: it can be read. */
static int fill(struct dump *d, const struct fd_info *info, RegFileEntry *m, bool ask)
{
	m->has_mode = info->st.st_mode != 0;
	m->mode = info->st.st_mode;
	if (!S_ISREG(info->st.st_mode) || !ask)
		return 0;
	return validate_dump(d, info, m);
}

int pathfile_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	const char *name;
	enum place place = find_place(d, info, &name);
	int err;

	m->name = (char *)name;
	if (place == REFUSED)
		return DUMP_REFUSED;
	if (place == IS_LINK) {
		err = link_remap_dump(d, info, m);
		if (err && err != LINK_NO_NAME)
			return err;
		place = err ? IS_GHOST : AT_NAME;
	}
	return place == IS_GHOST ? ghost_dump(d, info, m) : fill(d, info, m, place != BY_PATH);
}

/* The path as the task sees it, where its root is another than ours; NULL: as we do. */
static const char *in_its_root(const struct fd_info *info, const char *link)
{
	char path[32], root[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/root", info->task->pid);
	n = readlink(path, root, sizeof(root) - 1);
	if (n <= 1)
		return NULL;
	root[n] = 0;
	return strncmp(link, root, (size_t)n) || link[n] != '/' ? NULL : link + n;
}

static bool path_named(struct dump *d, const char *path)
{
	return external_named(d->opts, path) || external_named(d->opts, path + 1);
}

void pathfile_note_key(const struct fd_info *info, RegFileEntry *m)
{
	if (info->by_path || info->mnt_id < 0)
		return;
	m->has_seen_mnt_id = m->has_seen_ino = true;
	m->seen_mnt_id = (uint32_t)info->mnt_id;
	m->seen_ino = info->st.st_ino;
}

bool pathfile_external(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	const char *name = info->link, *seen;
	char key[64];

	if ((!d->opts->n_external && !d->opts->n_inherit_fd) || info->by_path)
		return false;
	snprintf(key, sizeof(key), "file[%x:%lx]", info->mnt_id, (unsigned long)info->st.st_ino);
	if (external_named(d->opts, key)) {
		name = key;
	} else if (name[0] == '/') {
		bool shown = path_named(d, name); /* with its mark, as /proc shows it */

		name = info->st.st_nlink ? name : file_names_unmark(d->arena, name);
		seen = in_its_root(info, name);
		if (!shown && !path_named(d, name) && !(seen && path_named(d, seen)))
			return false;
	} else {
		return false;
	}
	m->name = arena_strdup(d->arena, name);
	m->has_ext = m->ext = m->has_mode = true;
	m->mode = info->st.st_mode;
	return true;
}

int pathfile_dump_extra(struct dump *d, const struct fd_info *info, uint32_t *id)
{
	RegFileEntry *m = arena_msg(d->arena, RegFileEntry, reg_file_entry);
	bool external;
	int err;

	m->id = *id = files_new_id(d);
	pathfile_note_key(info, m);
	external = S_ISFIFO(info->st.st_mode) && pathfile_external(d, info, m);
	err = external ? 0 : pathfile_dump(d, info, m);
	if (err)
		return err;
	m->flags = info->flags;
	m->fown = info->fown ?: arena_msg(d->arena, FownEntry, fown_entry);
	err = files_write_entry(d, kind_by_fd_type(FD_TYPES__REG), m->id, m);
	return !err && external ? PATHFILE_EXTERNAL : err;
}
