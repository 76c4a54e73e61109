/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dump by an ordinary user: what is in a file system of the tree's own is made again with that user's rights, so that
 * nothing is saved that would come back with another owner, or not at all.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "helper/detour.h"
#include "lib/log.h"
#include "mnt/mnt_dump.h"

#define NAMES_MAX 65536 /* XATTR_LIST_MAX, of all extended attributes of a file */

struct owners_walk {
	const char *who;
	dev_t dev;
	int err;
};

static bool has_group(gid_t gid)
{
	gid_t groups[1024];
	int n = getgroups(ARRAY_SIZE(groups), groups);
	bool has = gid == getegid();

	for (int i = 0; i < n; i++)
		has |= groups[i] == gid;
	return has;
}

static bool has_privileged_xattr(int dir, const char *name)
{
	static const char *const prefixes[] = { "security.", "trusted." };
	char path[64 + NAME_MAX], names[NAMES_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	n = llistxattr(path, names, sizeof(names));
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(names + at) + 1)
		for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
			if (!strncmp(names + at, prefixes[i], strlen(prefixes[i])))
				return true;
	return false;
}

static void check_file(struct owners_walk *w, int dir, const char *name, const struct stat *st)
{
	const char *why = NULL;

	if (st->st_uid != geteuid() || !has_group(st->st_gid))
		why = "belongs to another user or group";
	else if (S_ISBLK(st->st_mode) || (S_ISCHR(st->st_mode) && st->st_rdev))
		why = "is a device";
	else if (has_privileged_xattr(dir, name))
		why = "has extended attributes of security.* or trusted.*";
	if (why)
		w->err =
		    log_refusal(-EPERM,
		                "%s: %s (inode %llu) %s, which an ordinary user's criu cannot make again: run criu as "
		                "root",
		                w->who, name, (unsigned long long)st->st_ino, why);
}

/* dir is used up. */
static int walk_owners(struct owners_walk *w, int fd, int depth)
{
	DIR *dir = mnt_walk_open(fd, depth);
	struct dirent *e;
	struct stat st;
	int err = dir ? 0 : -errno;

	while (!err && (e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || st.st_dev != w->dev)
			continue;
		check_file(w, fd, e->d_name, &st);
		if (S_ISDIR(st.st_mode))
			err = walk_owners(w, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC),
			                  depth + 1);
	}
	if (dir)
		closedir(dir);
	return err;
}

int mnt_owners_check(const char *who, int dir)
{
	struct owners_walk w = { .who = who };
	struct stat st;
	int err;

	if (!detour_is_ordinary())
		return 0;
	if (fstat(dir, &st))
		return log_errno(-errno, "%s: fstat", who);
	w.dev = st.st_dev;
	check_file(&w, dir, ".", &st);
	err = S_ISDIR(st.st_mode) ? walk_owners(&w, openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0) : 0;
	return err ? log_errno(err, "%s: looking for the owners of its files", who) : w.err;
}
