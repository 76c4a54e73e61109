/* SPDX-License-Identifier: GPL-2.0-only */
#include "image/image_change.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_dir_own.h"
#include "image/image_exchange.h"
#include "lib/arena.h"
#include "lib/log.h"

struct arena *image_dir_arena(struct image_dir *dir)
{
	if (!dir->arena)
		dir->arena = arena_new();
	return dir->arena;
}

void **image_dir_page_sums(struct image_dir *dir)
{
	return &dir->page_sums;
}

void **image_dir_punched(struct image_dir *dir)
{
	return &dir->punched;
}

/* ---- what is there ---- */

/* A name that says something else when its number is written again (a zero in front) is none of ours. */
static bool take_number(enum image_type type, const char *name, uint64_t *number)
{
	const char *digits = name + strcspn(name, "0123456789");
	char again[IMAGE_NAME_MAX];

	*number = strtoull(digits, NULL, 10);
	image_make_name(type, *number, again);
	return *digits && !strcmp(name, again);
}

int image_change_numbers(struct image_dir *dir, enum image_type type, struct arena *a, uint64_t **vp, size_t *np)
{
	int fd = openat(dir->places[0], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	uint64_t number;
	int err;

	*np = 0;
	if (!d) {
		err = log_errno(-errno, "%s: opendir", dir->path);
		cleanup_close(&fd);
		return err;
	}
	errno = 0;
	while ((e = readdir(d)))
		if (take_number(type, e->d_name, &number))
			arena_push(a, vp, np, number);
	err = -errno;
	closedir(d);
	return err ? log_errno(err, "%s: readdir", dir->path) : 0;
}

/* ---- changing it ---- */

int image_change_begin(struct image_dir *dir)
{
	int err = image_exchange_lock(dir->fd, dir->path);

	if (!err && !image_exchange_is_settled(dir->fd))
		err = log_errno(-EBUSY, "%s: a dump or a page server is writing there, or was killed", dir->path);
	return err ?: image_exchange_claim(dir->readers, dir->path);
}

void image_change_end(const struct image_dir *dir)
{
	image_exchange_unlock(dir->fd);
}

bool image_change_is_later(const char *name)
{
	char later[IMAGE_NAME_MAX];

	image_make_name(IMG_PUNCHED, 0, later);
	return !strcmp(name, later);
}

static void make_names(enum image_type type, char name[IMAGE_NAME_MAX], char temp[IMAGE_NAME_MAX + 4])
{
	image_make_name(type, 0, name);
	snprintf(temp, IMAGE_NAME_MAX + 4, "%s.tmp", name);
}

int image_change_create(const struct image_dir *dir, enum image_type type, struct image **imgp)
{
	char name[IMAGE_NAME_MAX], temp[IMAGE_NAME_MAX + 4];

	make_names(type, name, temp);
	return image_create_at(dir->fd, temp, type, imgp);
}

int image_change_publish(const struct image_dir *dir, enum image_type type)
{
	char name[IMAGE_NAME_MAX], temp[IMAGE_NAME_MAX + 4];

	make_names(type, name, temp);
	if (renameat(dir->fd, temp, dir->fd, name))
		return log_errno(-errno, "%s/%s: rename to %s", dir->path, temp, name);
	return 0;
}

int image_change_pages(const struct image_dir *dir, uint32_t pages_id)
{
	char name[IMAGE_NAME_MAX];
	int fd;

	image_make_name(IMG_PAGES, pages_id, name);
	fd = openat(dir->fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "%s/%s: openat for writing", dir->path, name) : fd;
}
