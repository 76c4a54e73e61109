/* SPDX-License-Identifier: GPL-2.0-only */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "proc/fdinfo.h"
#include "files/long_path.h"
#include "lib/lookup.h"
#include "proc/mountinfo.h"

/* ---- using long paths ---- */

static int open_at(int dir, const char *path, int flags)
{
	if (dir == AT_FDCWD)
		return lookup_open(path, flags, 0);
	return lookup_now() ? lookup_open_below(dir, path, flags) : openat(dir, path, flags);
}

static int stat_at(int dir, const char *path, int flags, struct stat *st)
{
	_cleanup_close_ int fd = -1;

	if (!lookup_now())
		return fstatat(dir, path, st, flags);
	fd = open_at(dir, path, O_PATH | O_CLOEXEC | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0));
	return fd < 0 ? -1 : fstat(fd, st);
}

/* Enters directories until the rest is short enough: *rest is relative to *dir (or absolute, with AT_FDCWD). */
static int enter_directories(const char *path, int *dir, const char **rest)
{
	char part[PATH_MAX];

	while (strlen(path) >= PATH_MAX) {
		size_t n = PATH_MAX - 1;
		int next;

		while (n && path[n] != '/')
			n--;
		if (!n)
			return -ENAMETOOLONG;
		memcpy(part, path, n);
		part[n] = 0;
		next = open_at(*dir, part, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (next < 0)
			return -errno;
		if (*dir >= 0)
			close(*dir);
		*dir = next;
		path += n;
		path += strspn(path, "/");
	}
	*rest = path;
	return 0;
}

int long_path_open(const char *path, int flags)
{
	int dir = AT_FDCWD, err = enter_directories(path, &dir, &path), fd = -1;

	if (!err)
		fd = open_at(dir, path, flags);
	if (fd < 0)
		err = err ?: -errno;
	if (dir >= 0)
		close(dir);
	return err ?: fd;
}

int long_path_stat(const char *path, int flags, struct stat *st)
{
	int dir = AT_FDCWD, err = enter_directories(path, &dir, &path);

	if (!err && stat_at(dir, path, flags, st))
		err = -errno;
	if (dir >= 0)
		close(dir);
	return err;
}

bool long_path_leads_to(const char *path, const struct stat *st)
{
	int flags = (S_ISLNK(st->st_mode) ? AT_SYMLINK_NOFOLLOW : 0) | AT_NO_AUTOMOUNT;
	struct stat now;

	return st->st_mode && !long_path_stat(path, flags, &now) && now.st_dev == st->st_dev &&
	       now.st_ino == st->st_ino;
}

/* ---- finding long paths ---- */

/* The name that an inode has in a directory. */
static const char *name_in_directory(struct arena *a, int dir_fd, const struct stat *st)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const char *name = NULL;
	struct dirent *e;
	struct stat now;

	while (dir && !name && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (e->d_type != DT_UNKNOWN && S_ISDIR(st->st_mode) != (e->d_type == DT_DIR))
			continue;
		/* Not by the number in the entry: it is another for a directory on which something is mounted. */
		if (!fstatat(fd, e->d_name, &now, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) && now.st_dev == st->st_dev &&
		    now.st_ino == st->st_ino)
			name = arena_strdup(a, e->d_name);
	}
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
	return name;
}

/* What /proc shows, where that is short enough and not deleted; NULL otherwise. */
static const char *shown_path(struct arena *a, int fd)
{
	char path[32], link[PATH_MAX];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = 0;
	return n > 0 && !fstat(fd, &st) && long_path_leads_to(link, &st) ? arena_strdup(a, link) : NULL;
}

/* Climbs to a directory whose path /proc shows. */
static const char *path_by_climbing(struct arena *a, int fd)
{
	_cleanup_close_ int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *rest = "", *path, *name;
	struct stat st;

	while (at >= 0 && !(path = shown_path(a, at))) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		name = up < 0 || fstat(at, &st) ? NULL : name_in_directory(a, up, &st);
		if (!name) {
			if (up >= 0)
				close(up);
			return NULL;
		}
		rest = arena_printf(a, "/%s%s", name, rest);
		close(at);
		at = up;
	}
	return at < 0 ? NULL : arena_printf(a, "%s%s", path, rest);
}

/* The path of a file, if it is in the directory that a link in /proc/PID leads to. */
static const char *path_if_below(struct dump *d, const struct fd_info *info, const char *link)
{
	_cleanup_close_ int dir = openat(info->task->dump->proc_fd, link, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const char *name = dir < 0 ? NULL : name_in_directory(d->arena, dir, &info->st), *path;

	path = name ? shown_path(d->arena, dir) ?: path_by_climbing(d->arena, dir) : NULL;
	return path ? arena_printf(d->arena, "%s/%s", path, name) : NULL;
}

/* In the working directory of the task, and in all directories that it has open. */
static const char *path_of_file(struct dump *d, const struct fd_info *info)
{
	const char *path = path_if_below(d, info, "cwd");
	int *numbers = NULL;
	char link[32];
	size_t n = 0;

	if (path || proc_read_fd_numbers(info->task->dump->proc_fd, d->arena, &numbers, &n))
		return path;
	for (size_t i = 0; i < n && !path; i++) {
		snprintf(link, sizeof(link), "fd/%d", numbers[i]);
		path = path_if_below(d, info, link);
	}
	return path;
}

static const char *mount_path(struct dump *d, int fd)
{
	struct mount_at *mounts = NULL;
	int id = mountinfo_mount_id(fd, "");
	size_t n = 0;

	if (mountinfo_read(d->arena, &mounts, &n))
		return "";
	for (size_t i = 0; i < n; i++)
		if (mounts[i].id == id)
			return strcmp(mounts[i].path, "/") ? mounts[i].path : "";
	return "";
}

const char *long_path_link(struct dump *d, const struct fd_info *info)
{
	bool dir = S_ISDIR(info->st.st_mode);
	const char *path = NULL;

	if (info->st.st_nlink)
		path = dir ? path_by_climbing(d->arena, info->fd) : path_of_file(d, info);
	return path
	           ?: arena_printf(d->arena, "%s/a path that is too long to be shown%s", mount_path(d, info->fd),
	                           dir || !info->st.st_nlink ? PROC_DELETED : "");
}
