/* SPDX-License-Identifier: GPL-2.0-only */
/* The checkpoint before one, to which the link "parent" leads. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "image/image_chain.h"
#include "image/image_dir_own.h"
#include "lib/log.h"

const char *image_dir_path(const struct image_dir *dir)
{
	return dir->path;
}

bool image_dir_is_same(const struct image_dir *one, const struct image_dir *other)
{
	struct stat a, b;

	return !fstat(one->fd, &a) && !fstat(other->fd, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int image_dir_link_prev(struct image_dir *dir, const char *prev)
{
	int fd = image_dir_files_fd(dir);

	if (fd < 0)
		return fd;
	if (symlinkat(prev, fd, IMAGE_PREV))
		return log_errno(-errno, "%s/" IMAGE_PREV ": symlinkat to %s", dir->path, prev);
	return 0;
}

/* Seen from the image directory, also where the link lies in a hidden one. */
int image_dir_open_prev(const struct image_dir *dir, const char *prev, struct image_dir **prevp)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s", *prev == '/' ? "" : dir->path, *prev == '/' ? "" : "/", prev) < 0) {
		path = NULL;
		return log_errno(-ENOMEM, "%s/" IMAGE_PREV, dir->path);
	}
	return image_dir_open_like(path, dir, prevp);
}

int image_dir_prev(struct image_dir *dir, struct image_dir **prevp)
{
	char target[PATH_MAX];
	ssize_t n;
	int err;

	*prevp = dir->prev;
	if (dir->prev)
		return 0;
	if (dir->stream)
		return -ENOENT;
	n = readlinkat(image_dir_place_of(dir, IMAGE_PREV), IMAGE_PREV, target, sizeof(target) - 1);
	if (n < 0)
		return errno == ENOENT || errno == EINVAL
		           ? -ENOENT
		           : log_errno(-errno, "%s/" IMAGE_PREV ": readlinkat", dir->path);
	target[n] = '\0';
	err = image_dir_open_prev(dir, target, &dir->prev);
	if (err)
		return err;
	dir->prev->next = dir;
	for (const struct image_dir *next = dir; next; next = next->next)
		if (image_dir_is_same(dir->prev, next))
			return log_errno(-ELOOP, "%s/" IMAGE_PREV " leads back to %s", dir->path, next->path);
	*prevp = dir->prev;
	return 0;
}
