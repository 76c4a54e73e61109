/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "files/foreign_files.h"
#include "files/foreign_restore.h"
#include "helper/ns_roots.h"
#include "path/foreign_watch.h"
#include "path/inode_scan.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "path/watched.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

/* ---- dump ---- */

void watched_add(struct dump *d, struct watched_inodes *all, const struct watched_inode *w)
{
	struct watched_inode *copy = arena_memdup(d->arena, w, sizeof(*w));

	copy->next = all->first;
	all->first = copy;
}

/* The path that a link in /proc shows, if it leads to that inode; NULL otherwise. */
static const char *path_shown(struct arena *a, int dir_fd, const char *proc_link, const struct stat *st)
{
	char path[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, proc_link, path, sizeof(path) - 1);
	struct stat now;

	if (n <= 0 || path[0] != '/')
		return NULL;
	path[n] = 0;
	if (lookup_lstat(path, &now) || now.st_dev != st->st_dev || now.st_ino != st->st_ino)
		return NULL;
	return arena_strdup(a, path);
}

static struct foreign_mount *foreign_mount_of(struct dump *d, const struct watched_inode *w)
{
	struct foreign *f = foreign_files_mounts(d);

	return f ? foreign_mount_by_dev(f, w->s_dev) : NULL;
}

/* On a file system that may not answer. Returns whether the handle works; where it cannot be tried, that is refused. */
static int find_foreign(struct dump *d, struct foreign_mount *m, struct watched_inode *w, struct stat *st)
{
	struct foreign_watched *seen = arena_new_of(d->arena, struct foreign_watched);
	_cleanup_close_ int fd = -1;
	int number;

	if (m->fuse && foreign_server_of(d, m, &number)) {
		log_refusal(-EDEADLK,
		            "%s is on a FUSE (%s, mounted at %s) whose server is in the tree and stands still for the "
		            "dump; remove the watch before the dump",
		            w->name, m->type, m->path);
		return 0;
	}
	fd = foreign_watch_open(foreign_files_mounts(d), m, w->fh, NULL, seen);
	if (fd == -ETIMEDOUT)
		log_refusal(fd, "%s is on a file system (%s, mounted at %s) that did not answer in time", w->name,
		            m->type, m->path);
	if (fd < 0 || seen->st.st_ino != w->ino)
		return 0;
	*st = seen->st;
	w->fh->path = seen->path[0] ? seen->path : NULL;
	return 1;
}

/* By its handle, through each mount of its file system until one shows a path. Returns whether the handle works. */
static int find_by_handle(struct dump *d, struct watched_inodes *all, struct watched_inode *w, struct stat *st)
{
	struct foreign_mount *m = foreign_mount_of(d, w);
	int works = 0;

	if (m)
		return find_foreign(d, m, w, st);
	for (size_t mount = 0; !w->fh->path;) {
		_cleanup_close_ int fd = fhandle_open(&all->handles, w->s_dev, w->fh, &mount);
		char link[40];

		if (fd < 0 || fstat(fd, st) || st->st_ino != w->ino)
			break;
		works = 1;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		w->fh->path = (char *)path_shown(d->arena, AT_FDCWD, link, st);
	}
	return works;
}

/* By a descriptor of the tree: its path, or if it has none any more, the id of the file. */
static void find_by_descriptor(struct dump *d, struct watched_inode *w, const struct stat *st)
{
	const struct file_at *at = files_at(d, st->st_dev, w->ino);

	for (; at && !w->fh->path; at = at->next) {
		char link[32];
		struct stat now;

		snprintf(link, sizeof(link), "fd/%d", at->number);
		if (foreign_mount_of(d, w) || fstatat(at->task->dump->proc_fd, link, &now, 0))
			continue;
		w->fh->path = (char *)path_shown(d->arena, at->task->dump->proc_fd, link, &now);
		if (!w->fh->path && !now.st_nlink)
			*w->file_id = at->id;
	}
}

static void refuse_watched(const struct watched_inode *w, bool deleted)
{
	if (deleted)
		log_refusal(
		    -ENOTSUP,
		    "%s is on a deleted file (inode %llu on %u:%u) that no task of the tree has open: remove the "
		    "watch before the dump",
		    w->name, (unsigned long long)w->ino, w->s_dev >> 20, w->s_dev & 0xfffff);
	else
		log_refusal(-ENOENT,
		            "%s: the path of the file that is watched is not known (inode %llu on %u:%u): name a "
		            "directory above it with --irmap-scan-path",
		            w->name, (unsigned long long)w->ino, w->s_dev >> 20, w->s_dev & 0xfffff);
}

static bool has_device(const struct mount_at *mounts, size_t n, uint32_t s_dev)
{
	for (size_t i = 0; i < n; i++)
		if (mounts[i].s_dev == s_dev)
			return true;
	return false;
}

/* The namespace of the task, where the file system is mounted in it and not in criu's own. */
static const struct ns_root *other_ns_of(struct dump *d, const struct watched_inodes *all,
                                         const struct watched_inode *w)
{
	const struct ns_root *ns;

	if (!w->task->ids || has_device(all->handles.mounts, all->handles.n, w->s_dev))
		return NULL;
	ns = ns_ids_any(d, CLONE_NEWNS) ? ns_roots_find(d, w->task->ids->mnt_ns_id) : NULL;
	return ns && has_device(ns->mounts, ns->n_mounts, w->s_dev) ? ns : NULL;
}

/*
 * In a namespace of the tree's own: a restore makes the file system anew, in which no handle means anything. So the
 * path is what is needed.
 */
static int find_in_ns(struct dump *d, const struct ns_root *ns, struct watched_inode *w)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(&ns->at);
	struct stat st = { .st_dev = makedev(w->s_dev >> 20, w->s_dev & 0xfffff), .st_nlink = 1 };
	struct watched_inodes one = { 0 };
	int err = fhandle_init(&one.handles, d->arena), works;

	if (err)
		return err;
	works = find_by_handle(d, &one, w, &st);
	if (!w->fh->path)
		find_by_descriptor(d, w, &st);
	fhandle_close(&one.handles);
	if (w->fh->path) {
		w->fh->has_mnt_id = true;
		w->fh->mnt_id = (uint32_t)mountinfo_mount_id(AT_FDCWD, w->fh->path);
	} else if (!*w->file_id) {
		refuse_watched(w, works && !st.st_nlink);
	}
	return 0;
}

/* Whether only a look into directories can tell its path. */
static bool is_lost(struct dump *d, const struct watched_inode *w, int handle_works, const struct stat *st)
{
	if (w->fh->path || *w->file_id || foreign_mount_of(d, w))
		return false;
	return !handle_works || (st->st_nlink && d->opts->force_irmap);
}

int watched_find_ahead(struct dump *d, struct watched_inodes *all, struct watched_inode ***lostp, size_t *np)
{
	int err = all->first ? fhandle_init(&all->handles, d->arena) : 0;

	for (struct watched_inode *w = all->first; w && !err; w = w->next) {
		struct stat st = { 0 };
		int works;

		if (!has_device(all->handles.mounts, all->handles.n, w->s_dev) || foreign_mount_of(d, w))
			continue;
		works = find_by_handle(d, all, w, &st);
		if (is_lost(d, w, works, &st))
			arena_push(d->arena, lostp, np, w);
	}
	fhandle_close(&all->handles);
	if (!err && *np)
		inode_scan(d, *lostp, *np);
	return err;
}

int watched_find(struct dump *d, struct watched_inodes *all)
{
	struct watched_inode **lost = NULL;
	size_t n_lost = 0;
	int err = all->first ? fhandle_init(&all->handles, d->arena) : 0;

	for (struct watched_inode *w = all->first; w && !err; w = w->next) {
		const struct ns_root *ns = other_ns_of(d, all, w);
		struct stat st = { .st_dev = makedev(w->s_dev >> 20, w->s_dev & 0xfffff), .st_nlink = 1 };
		int works = ns ? 0 : find_by_handle(d, all, w, &st);

		if (ns) {
			err = find_in_ns(d, ns, w);
			continue;
		}
		if (!w->fh->path)
			find_by_descriptor(d, w, &st);
		if (w->fh->path || *w->file_id || (works && st.st_nlink && !d->opts->force_irmap))
			continue;
		if (is_lost(d, w, works, &st))
			arena_push(d->arena, &lost, &n_lost, w);
		else
			refuse_watched(w, works && !st.st_nlink);
	}
	fhandle_close(&all->handles);
	if (!err && n_lost)
		inode_scan(d, lost, n_lost);
	for (size_t i = 0; i < n_lost && !err; i++)
		if (!lost[i]->fh->path)
			refuse_watched(lost[i], false);
	return err;
}

/* ---- restore ---- */

struct watched_restore {
	bool has_mounts; /* read */
	struct fhandles handles;
};

const struct subsys watched_subsys = { .name = "watched inodes",
	                               .state = { .restore = sizeof(struct watched_restore) } };

static struct fhandles *handles_of(struct restore *r)
{
	struct watched_restore *s = restore_state(r, &watched_subsys);

	if (!s->has_mounts && fhandle_init(&s->handles, r->arena))
		return NULL;
	s->has_mounts = true;
	return &s->handles;
}

void watched_close_mounts(struct restore *r)
{
	struct watched_restore *s = restore_state(r, &watched_subsys);

	fhandle_close(&s->handles);
}

/* CRIU leaves out the first slash. */
static const char *absolute_path(struct restore *r, const char *path)
{
	return path[0] == '/' ? path : arena_printf(r->arena, "/%s", path);
}

/* -ENODEV: it is not on a foreign file system. */
static int open_foreign(struct restore *r, uint32_t s_dev, const FhEntry *fh)
{
	const char *path = fh->path ? absolute_path(r, fh->path) : NULL;
	struct foreign_watched seen;
	struct foreign_access a;
	int is = foreign_restore_access(r, path ?: "", &a);
	struct foreign_mount *m = is < 0 ? NULL : foreign_mount_by_dev(a.f, s_dev) ?: a.mount;

	return is < 0 ? is : m ? foreign_watch_open(a.f, m, fh, path, &seen) : -ENODEV;
}

/* In a namespace of the tree's own. NULL: it is elsewhere. */
static const struct ns_root *ns_of(struct restore *r, const FhEntry *fh)
{
	return fh->has_mnt_id && fh->path ? ns_roots_expected(r, fh->mnt_id) : NULL;
}

static int open_in_ns(struct restore *r, const struct ns_root *ns, const FhEntry *fh)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_in(&ns->at);
	int fd = lookup_open(absolute_path(r, fh->path), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

/* The handle first: the file may have been renamed, or replaced. */
int watched_open(struct restore *r, uint32_t s_dev, const FhEntry *fh, uint32_t file_id)
{
	struct fhandles *h;
	size_t mount = 0;
	int fd, err;

	if (file_id)
		return files_borrow(r, file_id);
	if (ns_of(r, fh))
		return open_in_ns(r, ns_of(r, fh), fh);
	err = open_foreign(r, s_dev, fh);
	if (err != -ENODEV)
		return err;
	h = handles_of(r);
	fd = h ? fhandle_open(h, s_dev, fh, &mount) : -EIO;
	if (fd >= 0 || !fh->path)
		return fd;
	err = fd;
	fd = lookup_open(absolute_path(r, fh->path), O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
	return fd >= 0 ? fd : errno == ENOENT ? -ENOENT : err;
}

int watched_check(struct restore *r, uint32_t s_dev, const FhEntry *fh, uint32_t file_id, const char **why)
{
	_cleanup_close_ int fd = -1;

	if (file_id && files_message(r, file_id, NULL))
		return 0;
	if (ns_of(r, fh) && ns_of(r, fh)->fd < 0) /* made later; looked at when it is opened */
		return 0;
	fd = file_id ? -ENOENT : watched_open(r, s_dev, fh, 0);
	if (fd >= 0)
		return 0;
	if (fh->path)
		*why = arena_printf(r->arena, "watches %s, which cannot be found: %s", fh->path, strerror(-fd));
	else
		*why =
		    arena_printf(r->arena,
		                 "watches a file whose path is not known, and which cannot be found by its handle on "
		                 "device %u:%u: %s; dump with --force-irmap",
		                 s_dev >> 20, s_dev & 0xfffff, strerror(-fd));
	return fd;
}
