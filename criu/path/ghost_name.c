/* SPDX-License-Identifier: GPL-2.0-only */
/* The old name of a ghost: the directory in which it is made again, and the name that /proc goes on to show. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/ghost_make.h"

const char *ghost_dir(struct restore *r, const struct ghost *g)
{
	char *dir = arena_strdup(r->arena, g->entry->dir ?: g->name);
	struct stat st;

	while (lookup_stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		char *slash = strrchr(dir, '/');

		if (!slash || !slash[1])
			return "/";
		slash[slash == dir] = 0;
	}
	return dir;
}

/* The undo of a name: unlinks it if it (still) leads to our file. */
static int unlink_ours(const struct undo *u)
{
	const struct stat *ours = u->data;
	struct stat st;

	if (lstat(u->path, &st) || st.st_dev != ours->st_dev || st.st_ino != ours->st_ino)
		return -ENOENT;
	return unlink(u->path) ? -errno : 0;
}

int ghost_open_by_name(struct restore *r, const struct ghost *g, int fd)
{
	struct undo u = { .type = UNDO_CALL, .call = unlink_ours, .fd = -1, .path = lookup_path(g->name) };
	int number, named = -1;
	struct stat st, got;
	char path[32];

	if (fstat(fd, &st))
		return -errno;
	u.data = &st;
	u.data_len = sizeof(st);
	number = guardian_note(r->guardian, &u);
	if (number < 0)
		return number;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!linkat(AT_FDCWD, path, AT_FDCWD, u.path, AT_SYMLINK_FOLLOW)) {
		fault_point("ghost has its name");
		named = open(u.path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		unlink_ours(&u);
	} else {
		log_info("%s (deleted): /proc shows another name of it now: linkat: %s", g->name, strerror(errno));
	}
	guardian_drop(r->guardian, number);
	if (named >= 0 && !fstat(named, &got) && got.st_dev == st.st_dev && got.st_ino == st.st_ino)
		return named;
	cleanup_close(&named);
	return -ENOENT;
}
