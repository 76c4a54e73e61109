/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "path/file_names.h"
#include "files/files.h"
#include "files/foreign_files.h"
#include "path/file_place.h"
#include "path/file_type.h"
#include "lib/log.h"
#include "files/long_path.h"
#include "helper/ns_roots.h"
#include "proc/mountinfo.h"
#include "proc/fdinfo.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}

/* The magic number of its file system; one that does not answer is a FUSE without its server. */
static long magic_of(const struct fd_info *info)
{
	struct statfs fs;

	if (info->foreign)
		return info->foreign->fuse                       ? FUSE_SUPER_MAGIC
		       : !strncmp(info->foreign->type, "nfs", 3) ? NFS_SUPER_MAGIC
		                                                 : 0;
	if (info->fs_type)
		return info->fs_type;
	return fstatfs(info->fd, &fs) ? FUSE_SUPER_MAGIC : (long)fs.f_type;
}

static bool is_cgroup(long magic)
{
	return magic == CGROUP_SUPER_MAGIC || magic == CGROUP2_SUPER_MAGIC;
}

/* ---- what hides it ---- */

/* The lowest directory of its path on which another mount than the file's lies; NULL: none. */
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
	if (over && foreign_files_mount(d, info, over)) /* which is not asked */
		return over;
	return over && mountinfo_mount_id(AT_FDCWD, over) != own ? over : NULL;
}

/* Its mount is in no namespace that is known: detached (open_tree, fsmount, umount -l), or of other programs. */
static bool is_without_place(struct dump *d, const struct fd_info *info)
{
	int id = info->mnt_id >= 0 ? info->mnt_id : info->fd >= 0 ? mountinfo_mount_id(info->fd, "") : -1;

	return id >= 0 && !info->foreign && !ns_roots_has_mount(d, id);
}

static void refuse_other(struct dump *d, const struct fd_info *info)
{
	const struct stat *st = &info->st;
	const char *over = mount_over(d, info);
	struct stat now;
	int flags = S_ISLNK(st->st_mode) ? AT_SYMLINK_NOFOLLOW : 0;
	int err = foreign_files_stat(d, info, info->link, flags, &now, NULL);

	if (over)
		log_refusal(-ENOTSUP,
		            "%s: %s: the mount at %s hides it, and no other name of it is known; "
		            "unmount that for the dump",
		            fd_name(info), info->link, over);
	else if (is_without_place(d, info))
		log_refusal(
		    -ENOTSUP,
		    "%s: %s: its mount is in no place (open_tree, fsmount, umount -l), or in a mount namespace in "
		    "which neither criu nor a task of the tree is; let the program move it to one (move_mount), or "
		    "close it and leave the directory, or run criu in that mount namespace",
		    fd_name(info), info->link);
	else if (err)
		log_refusal(err,
		            "%s: %s: cannot be reached by its path, and no other name of it is known; run criu "
		            "where it can be reached",
		            fd_name(info), info->link);
	else
		log_refusal(-ENOTSUP,
		            "%s: %s: another file has this name now (%s, inode %lu on %u:%u instead of %lu on %u:%u), "
		            "and no other name of it is known; move that one away for the dump",
		            fd_name(info), info->link, file_type_name(now.st_mode), (unsigned long)now.st_ino,
		            major(now.st_dev), minor(now.st_dev), (unsigned long)st->st_ino, major(st->st_dev),
		            minor(st->st_dev));
}

/* ---- where it is ---- */

/* It has names, none of which was found. */
static enum file_place place_without_name(struct dump *d, const struct fd_info *info, long magic)
{
	unsigned long left = info->st.st_nlink;

	if (!ends_with(info->link, PROC_DELETED)) {
		refuse_other(d, info);
		return FILE_REFUSED;
	}
	if (d->opts->ghost_links)
		return FILE_IS_GHOST;
	if (d->opts->link_remap && !S_ISDIR(info->st.st_mode))
		return FILE_NEEDS_LINK;
	/* overlayfs still counts one link of a deleted file of a lower layer. */
	if (magic == OVERLAYFS_SUPER_MAGIC && left == 1)
		return FILE_IS_GHOST;
	log_refusal(
	    -ENOTSUP,
	    "%s: %s: this name was deleted, %lu other%s left which cannot be found; give --link-remap (makes a "
	    "link to it, which has to stay as long as the images), or --ghost-links (saves its contents: it will "
	    "no longer be the same file as under its other names)",
	    fd_name(info), info->link, left, left > 1 ? "s are" : " is");
	return FILE_REFUSED;
}

/*
 * NFS and FUSE rename a deleted file to such a name until it is closed, since they could not open it otherwise. It ends
 * with the tree.
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
 * Whether a FUSE denies that the file exists, or cannot be asked: lxcfs denies its files outside of containers, others
 * fail while they restart. Not if the path leads to another mount, nor if the file was unlinked there.
 */
static bool is_denied(struct dump *d, const struct fd_info *info, const char *name)
{
	int own = info->mnt_id >= 0 ? info->mnt_id : mountinfo_mount_id(info->fd, ""), err, mount;
	struct stat st;

	if (info->st.st_mode && !info->st.st_nlink)
		return false;
	err = -foreign_files_stat(d, info, name, AT_SYMLINK_NOFOLLOW, &st, &mount);
	mount = err ? own : mount;
	if (mount != own || (!err && info->st.st_mode && (st.st_mode ^ info->st.st_mode) & S_IFMT))
		return false;
	log_warn("%s: %s: its file system (FUSE) %s%s: assuming that the file exists; a restore opens its path",
	         fd_name(info), info->link, err ? "says " : "shows another inode number for it",
	         err ? strerror(err) : "");
	return true;
}

/* It was deleted, but is mounted: where it is. NULL: nowhere. */
static const char *place_as_mount(struct dump *d, const struct fd_info *info)
{
	const struct ns_root *ns;
	struct mount_at *all;
	size_t n;

	if (ns_roots_of_mount(d, info->mnt_id, &ns) || (!ns && ns_roots_own_mounts(d, &all, &n)))
		return NULL;
	if (ns) {
		all = ns->mounts;
		n = ns->n_mounts;
	}
	for (size_t i = 0; i < n; i++)
		if (ends_with(all[i].root, "//deleted") && !foreign_type(all[i].type) &&
		    long_path_leads_to(all[i].path, &info->st))
			return all[i].path;
	return NULL;
}

/* On a mount of the tree's own that others hide. */
static bool is_covered(struct dump *d, const struct fd_info *info, const char *name)
{
	const struct ns_root *ns;

	if (info->foreign || ns_roots_of_mount(d, info->mnt_id, &ns) || !ns)
		return false;
	return ns_roots_is_covered(d, ns, info->mnt_id, name, &info->st) > 0;
}

/* The path in /proc does not lead to it. */
static enum file_place place_elsewhere(struct dump *d, const struct fd_info *info, const char **name)
{
	bool marked = ends_with(info->link, PROC_DELETED);
	long magic = magic_of(info);
	const char *other;

	if (is_cgroup(magic)) {
		log_refusal(-ENOTSUP,
		            "%s: %s: its cgroup was removed, and cannot be made again with its state; close it before "
		            "the dump",
		            fd_name(info), info->link);
		return FILE_REFUSED;
	}
	*name = file_names_unmark(d->arena, info->link);
	if (magic == FUSE_SUPER_MAGIC && info->st.st_nlink && marked) {
		other = file_names_beside(d, info, *name);
		if (other && is_hidden(other, magic))
			return FILE_IS_GHOST;
	}
	if (magic == FUSE_SUPER_MAGIC && is_denied(d, info, *name))
		return FILE_BY_PATH;
	other = info->foreign ? NULL : place_as_mount(d, info);
	if (!other && (!info->st.st_nlink || (S_ISDIR(info->st.st_mode) && marked)))
		return FILE_IS_GHOST;
	if (!other && !marked && is_covered(d, info, *name))
		return FILE_IS_COVERED;
	other = other ?: file_names_other(d, info, *name);
	if (!other)
		return place_without_name(d, info, magic);
	log_info("%s: %s: found by another name: %s", fd_name(info), info->link, other);
	*name = other;
	return FILE_AT_NAME;
}

enum file_place file_place_find(struct dump *d, const struct fd_info *info, const char **name)
{
	*name = arena_strdup(d->arena, info->link);
	if (info->link[0] != '/') {
		log_refusal(-ENOTSUP, "%s: %s: lies outside of criu's root; run criu where it can be reached",
		            fd_name(info), info->link);
		return FILE_REFUSED;
	}
	if (foreign_files_leads_to(d, info, *name))
		return strstr(*name, "/.") && is_hidden(*name, magic_of(info)) ? FILE_IS_GHOST : FILE_AT_NAME;
	if (!ends_with(info->link, PROC_DELETED))
		return place_elsewhere(d, info, name);
	*name = file_names_unmark(d->arena, info->link);
	if (!foreign_files_leads_to(d, info, *name))
		return place_elsewhere(d, info, name);
	log_info("%s: %s: only looks deleted: the file exists", fd_name(info), info->link);
	return FILE_AT_NAME;
}
