/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Looking for the names of files. Every directory is read once in a dump, for any number of files, so that the cost is
 * that of the directories and has a bound.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "path/fhandle.h"
#include "path/foreign_content.h"
#include "files/foreign_files.h"
#include "files/files.h"
#include "path/file_names.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "files/long_path.h"
#include "lib/arena_hash.h"
#include "proc/fdinfo.h"
#include "tree/subsys.h"

/* Directory entries that are read in all, beside those of the directories of old names. */
#define ENTRIES_MAX 50000

struct dir_seen {
	const char *path;
	struct dir_seen **below;
	size_t n_below;
	int mnt_id;
	bool is_whole; /* all below it was read too */
	UT_hash_handle hh;
};

struct name_seen {
	uint64_t ino;
	const struct dir_seen *dir;
	const char *name;
	struct name_seen *next; /* of the same number */
	UT_hash_handle hh;
};

/* A file that was looked for before. */
struct found_name {
	struct {
		uint64_t dev, ino;
	} key;
	const char *name;
	bool searched;
	UT_hash_handle hh;
};

struct file_names {
	struct dir_seen *dirs;
	struct name_seen *names;
	struct found_name *found;
	size_t seen;
};

const struct subsys file_names_subsys = { .name = "names of files", .state = { .dump = sizeof(struct file_names) } };

const char *file_names_unmark(struct arena *a, const char *link)
{
	size_t n = strlen(link), end = strlen(PROC_DELETED);
	char *name = arena_strdup(a, link);

	if (n > end && !strcmp(name + n - end, PROC_DELETED))
		name[n - end] = 0;
	return name;
}

/* ---- directories on the way ---- */

/* Looked at by the task's helper. */
static bool is_on_foreign(struct dump *d, const struct fd_info *info, const char *dir)
{
	struct stat there;
	int mnt_id;

	return !foreign_files_stat(d, info, dir, AT_SYMLINK_NOFOLLOW, &there, &mnt_id) && S_ISDIR(there.st_mode) &&
	       there.st_dev == info->st.st_dev;
}

static bool is_on_file_system(struct dump *d, const struct fd_info *info, const char *dir)
{
	struct statx file, there;

	if (foreign_files_mount(d, info, dir))
		return is_on_foreign(d, info, dir);

	if (statx(info->fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &file) ||
	    statx(AT_FDCWD, lookup_path(dir), AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &there) || !S_ISDIR(there.stx_mode))
		return false;
	if (there.stx_dev_major == file.stx_dev_major && there.stx_dev_minor == file.stx_dev_minor)
		return true;
	/* Files of an overlay may show the number of another device than its directories. */
	return (file.stx_mask & there.stx_mask & STATX_MNT_ID) && file.stx_mnt_id == there.stx_mnt_id;
}

const char *file_names_near_dir(struct dump *d, const struct fd_info *info, const char *name)
{
	char *dir = arena_strdup(d->arena, name);

	for (char *slash; (slash = strrchr(dir, '/'));) {
		slash[slash == dir] = 0; /* "/" is the last that is tried */
		if (is_on_file_system(d, info, dir))
			return dir;
		if (slash == dir)
			break;
	}
	return NULL;
}

/* ---- reading them ---- */

static const char *join_path(struct arena *a, const char *dir, const char *name)
{
	return arena_printf(a, "%s/%s", strcmp(dir, "/") ? dir : "", name);
}

static void note_name(struct dump *d, const struct dir_seen *dir, const char *name, uint64_t ino)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	struct name_seen *n = arena_new_of(d->arena, struct name_seen), *first;

	n->ino = ino;
	n->dir = dir;
	n->name = arena_strdup(d->arena, name);
	HASH_FIND(hh, names->names, &n->ino, sizeof(n->ino), first);
	if (first) {
		n->next = first->next;
		first->next = n;
	} else {
		HASH_ADD_IN(d->arena, hh, names->names, ino, sizeof(n->ino), n);
	}
}

/* File systems on which readdir(3) and stat(2) may tell different inode numbers. */
static bool needs_stat(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) || fs.f_type == OVERLAYFS_SUPER_MAGIC || fs.f_type == FUSE_SUPER_MAGIC ||
	       fs.f_type == NFS_SUPER_MAGIC;
}

static bool is_link_of_dump(const char *name)
{
	return !strncmp(name, OUR_LINK, strlen(OUR_LINK)) || !strncmp(name, CRIU_LINK, strlen(CRIU_LINK));
}

/* Without waiting for an answer: something may be mounted there. */
static int stat_entry(int fd, const char *name, struct stat *st)
{
	struct statx x;

	if (statx(fd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &x))
		return -errno;
	st->st_mode = x.stx_mode;
	st->st_ino = x.stx_ino;
	return 0;
}

static void note_entry(struct dump *d, struct dir_seen *dir, int fd, const struct dirent *e, bool ask)
{
	struct stat st = { .st_ino = e->d_ino, .st_mode = (mode_t)e->d_type << 12 };

	if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || is_link_of_dump(e->d_name))
		return;
	if ((ask || e->d_type == DT_UNKNOWN) && stat_entry(fd, e->d_name, &st))
		return;
	if (S_ISDIR(st.st_mode)) {
		struct dir_seen *sub = arena_new_of(d->arena, struct dir_seen);

		sub->path = join_path(d->arena, dir->path, e->d_name);
		sub->mnt_id = -1;
		arena_push(d->arena, &dir->below, &dir->n_below, sub);
	} else {
		note_name(d, dir, e->d_name, st.st_ino);
	}
}

/* With O_NOATIME where criu may: a dump should not change access times. */
static int open_dir_to_read(const char *path)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
	    fd = lookup_open(path, flags | O_NOATIME, 0);

	return fd < 0 && errno == EPERM ? lookup_open(path, flags, 0) : fd;
}

static void read_dir(struct dump *d, struct dir_seen *dir, int fd)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	bool ask = needs_stat(fd);
	DIR *all = fdopendir(fd);
	struct dirent *e;

	while (all && (e = readdir(all))) {
		note_entry(d, dir, fd, e, ask);
		names->seen++;
	}
	if (all)
		closedir(all);
	else
		close(fd);
}

/* A directory of this mount (-1: of any), read now or before; NULL if it is of another, or cannot be read. */
static struct dir_seen *dir_of(struct dump *d, const char *path, int mnt_id)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	struct dir_seen *dir;
	int fd, mount;

	HASH_FIND(hh, names->dirs, path, strlen(path), dir);
	if (!dir && foreign_files_enters(d, path)) /* another mount, which may not answer */
		return NULL;
	if (dir)
		return mnt_id < 0 || dir->mnt_id == mnt_id ? dir : NULL;
	fd = open_dir_to_read(path);
	if (fd < 0)
		return NULL;
	mount = mountinfo_mount_id(fd, "");
	if (mnt_id >= 0 && mount != mnt_id) {
		close(fd);
		return NULL;
	}
	dir = arena_new_of(d->arena, struct dir_seen);
	dir->path = path;
	dir->mnt_id = mount;
	HASH_ADD_KEYPTR_IN(d->arena, hh, names->dirs, dir->path, strlen(dir->path), dir);
	read_dir(d, dir, fd);
	return dir;
}

/* ---- looking ---- */

/* Among the names that were read; NULL: it is not. */
static const char *known_name(struct dump *d, const struct stat *st)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	uint64_t ino = st->st_ino;
	struct name_seen *n;

	HASH_FIND(hh, names->names, &ino, sizeof(ino), n);
	for (; n; n = n->next) {
		const char *path = join_path(d->arena, n->dir->path, n->name);

		if (long_path_leads_to(path, st))
			return path;
	}
	return NULL;
}

/* All below a directory, those that are near first, until the file is found or the limit is reached. */
static const char *look_below(struct dump *d, const char *top, int *mnt_id, const struct stat *st)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	struct dir_seen *first = dir_of(d, top, *mnt_id), **queue = NULL;
	size_t n = 0;

	if (!first)
		return NULL;
	*mnt_id = first->mnt_id;
	arena_push(d->arena, &queue, &n, first);
	for (size_t i = 0; i < n; i++) {
		const char *path = known_name(d, st);

		if (path || names->seen >= ENTRIES_MAX)
			return path;
		for (size_t k = 0; k < queue[i]->n_below && !queue[i]->is_whole; k++) {
			struct dir_seen *dir = dir_of(d, queue[i]->below[k]->path, *mnt_id);

			if (names->seen >= ENTRIES_MAX)
				return known_name(d, st);
			if (dir && !dir->is_whole)
				arena_push(d->arena, &queue, &n, dir);
		}
	}
	first->is_whole = true;
	return known_name(d, st);
}

/* Below the directory, then below its parent, and so on, within one mount. */
static const char *search_upwards(struct dump *d, const struct stat *st, const char *dir)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	char *top = arena_strdup(d->arena, dir);
	const char *path = NULL;
	int mnt_id = -1;

	while (!path && names->seen < ENTRIES_MAX) {
		char *slash = strrchr(top, '/');

		path = look_below(d, arena_strdup(d->arena, top), &mnt_id, st);
		if (!slash || !slash[1] || mnt_id < 0)
			break;
		slash[slash == top] = 0;
		if (mountinfo_mount_id(AT_FDCWD, top) != mnt_id)
			break;
	}
	return path;
}

/* By its file handle: the name that the kernel remembers for the inode, which is the one that was used last. */
static const char *name_by_handle(struct dump *d, const struct fd_info *info)
{
	union {
		struct file_handle fh;
		uint8_t bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .fh.handle_bytes = MAX_HANDLE_SZ };
	FhEntry fh = FH_ENTRY__INIT;
	uint64_t words[MAX_HANDLE_SZ / sizeof(uint64_t)] = { 0 };
	int mnt_id, own = mountinfo_mount_id(info->fd, "");
	struct fhandles h = { 0 };
	const char *path = NULL;
	size_t from = 0, i = 0;

	if (name_to_handle_at(info->fd, "", &u.fh, &mnt_id, AT_EMPTY_PATH) || fhandle_init(&h, d->arena))
		return NULL;
	while (i < h.n && h.mounts[i].id != own)
		i++;
	fh.bytes = u.fh.handle_bytes;
	fh.type = (uint32_t)u.fh.handle_type;
	fh.n_handle = ARRAY_SIZE(words);
	fh.handle = words;
	memcpy(words, u.bytes + offsetof(struct file_handle, f_handle), fh.bytes);
	while (i < h.n && !path) {
		_cleanup_close_ int fd = fhandle_open(&h, h.mounts[i].s_dev, &fh, &from);
		char link[32], text[PATH_MAX];
		ssize_t n;

		if (fd < 0)
			break;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		n = readlink(link, text, sizeof(text) - 1);
		text[n > 0 ? n : 0] = 0;
		if (text[0] == '/' && !is_link_of_dump(strrchr(text, '/') + 1) && foreign_files_leads_to(d, info, text))
			path = arena_strdup(d->arena, text);
	}
	fhandle_close(&h);
	return path;
}

const char *file_names_beside(struct dump *d, const struct fd_info *info, const char *old)
{
	const char *dir = file_names_near_dir(d, info, old);

	if (dir && foreign_files_mount(d, info, dir))
		return foreign_content_name(d, info, dir);
	return dir && dir_of(d, dir, -1) ? known_name(d, &info->st) : NULL;
}

const char *file_names_other(struct dump *d, const struct fd_info *info, const char *old)
{
	struct file_names *names = dump_state(d, &file_names_subsys);
	struct found_name *f, key = { .key = { info->st.st_dev, info->st.st_ino } };
	const char *dir;

	if (info->foreign) /* a search would ask another machine for everything */
		return file_names_beside(d, info, old);
	dir = file_names_near_dir(d, info, old);
	HASH_FIND(hh, names->found, &key.key, sizeof(key.key), f);
	if (!f) {
		f = arena_new_of(d->arena, struct found_name);
		f->key = key.key;
		HASH_ADD_IN(d->arena, hh, names->found, key, sizeof(f->key), f);
	}
	if (!f->name && dir && dir_of(d, dir, -1))
		f->name = known_name(d, &info->st);
	if (f->name || f->searched)
		return f->name;
	f->searched = true;
	f->name = name_by_handle(d, info);
	if (!f->name && dir)
		f->name = search_upwards(d, &info->st, dir);
	log_debug("%s: %s: another name of it: %s (%zu directory entries were read)", fd_name(info), info->link,
	          f->name ?: "none found", names->seen);
	return f->name;
}
