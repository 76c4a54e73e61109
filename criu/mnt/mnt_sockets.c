/* SPDX-License-Identifier: GPL-2.0-only */
/* The files of unix sockets in a tmpfs of the tree's own, which tar(1) leaves out. Those that have a socket in the tree
 * are replaced when that is bound; the others stand for themselves. Places below locked mounts (mnt_hidden.h) are made
 * in the same way. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "lib/lookup.h"
#include "mnt/mnt_dump.h"

#define NSEC_PER_SEC 1000000000ULL

struct socket_walk {
	struct dump *d;
	MntEntry *e;
	dev_t dev;
};

static void note_socket(struct socket_walk *w, const char *path, const struct stat *st)
{
	MntSocketEntry *s = arena_msg(w->d->arena, MntSocketEntry, mnt_socket_entry);

	s->path = arena_strdup(w->d->arena, path);
	s->mode = st->st_mode;
	s->uid = st->st_uid;
	s->gid = st->st_gid;
	s->mtime = (uint64_t)st->st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st->st_mtim.tv_nsec;
	arena_push(w->d->arena, &w->e->sockets, &w->e->n_sockets, s);
}

/* dir is used up. */
static int walk_dir(struct socket_walk *w, int fd, const char *path, int depth)
{
	DIR *dir = mnt_walk_open(fd, depth);
	struct dirent *e;
	struct stat st;
	int err = dir ? 0 : -errno;

	while (!err && (e = readdir(dir))) {
		const char *below;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") ||
		    (e->d_type != DT_DIR && e->d_type != DT_SOCK))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) || st.st_dev != w->dev)
			continue;
		below = arena_printf(w->d->arena, "%s%s%s", path, *path ? "/" : "", e->d_name);
		if (S_ISSOCK(st.st_mode))
			note_socket(w, below, &st);
		else if (S_ISDIR(st.st_mode))
			err = walk_dir(w, openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), below,
			               depth + 1);
	}
	if (dir)
		closedir(dir);
	return err;
}

int mnt_sockets_dump(struct dump *d, const char *who, int dir, MntEntry *e)
{
	struct socket_walk w = { .d = d, .e = e };
	struct stat st;
	int err;

	if (fstat(dir, &st))
		return log_errno(-errno, "%s: fstat", who);
	if (!S_ISDIR(st.st_mode))
		return 0;
	w.dev = st.st_dev;
	err = walk_dir(&w, openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), "", 0);
	return err ? log_errno(err, "%s: looking for files of sockets", who) : 0;
}

/* ---- restore ---- */

static int make_one(const struct super *s, const MntEntry *e, const MntSocketEntry *m)
{
	const char *root = mountinfo_below(e->root, "/"), *slash = strrchr(m->path, '/');
	mode_t type = S_ISREG(m->mode) ? S_IFREG : S_IFSOCK;
	char dir[PATH_MAX];
	_cleanup_close_ int fd = -1;
	const char *name = slash ? slash + 1 : m->path;
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;

	snprintf(dir, sizeof(dir), "./%s/%.*s", root, slash ? (int)(slash - m->path) : 0, m->path);
	fd = lookup_open_below(s->fd, dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || !*name || fstat(fd, &st))
		return log_errno(-errno, "mount %s: open of the directory of %s", e->mountpoint, m->path);
	if ((S_ISDIR(m->mode) ? mkdirat(fd, name, 0755) : mknodat(fd, name, type | (m->mode & 07777), 0)) &&
	    errno != EEXIST)
		return log_errno(-errno, "mount %s: mknodat or mkdirat of %s", e->mountpoint, m->path);
	if (fchownat(fd, name, m->uid, m->gid, AT_SYMLINK_NOFOLLOW))
		return log_errno(-errno, "mount %s: fchownat of %s", e->mountpoint, m->path);
	fchmodat(fd, name, m->mode & 07777, 0);
	times[1] = (struct timespec) { (time_t)(m->mtime / NSEC_PER_SEC), (long)(m->mtime % NSEC_PER_SEC) };
	utimensat(fd, name, times, AT_SYMLINK_NOFOLLOW);
	/* The directory has its times from the archive. */
	utimensat(fd, ".", (const struct timespec[]) { st.st_atim, st.st_mtim }, 0);
	return 0;
}

/* Any mount of the file system may have them. */
int mnt_sockets_restore(struct restore *r, const struct super *s)
{
	const struct mnt_restore *all = mnt_of(r);
	int err = 0;

	for (size_t i = 0; i < all->n; i++)
		for (size_t k = 0; k < all->ns[i]->n; k++) {
			const struct mnt *m = &all->ns[i]->all[k];

			for (size_t j = 0; !err && m->super == s && j < m->e->n_sockets; j++)
				err = make_one(s, m->e, m->e->sockets[j]);
		}
	return err;
}
