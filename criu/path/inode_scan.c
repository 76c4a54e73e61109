/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <fts.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>

#include "files/foreign_files.h"
#include "image/image.h"
#include "proc/fdinfo.h"
#include "path/inode_scan.h"
#include "lib/log.h"
#include "lib/lookup.h"
#include "lib/arena_hash.h"

/* Entries that are looked at below directories that --irmap-scan-path does not name. */
#define SCAN_MAX 100000

struct wanted_inode {
	uint64_t ino;
	struct watched_inode *w;
	struct wanted_inode *next; /* of the same number on other devices */
	UT_hash_handle hh;
};

struct scan {
	struct arena *arena;
	struct wanted_inode *wanted; /* by ino */
	size_t left;                 /* how many are not found yet */
	size_t seen;
};

/*
 * Compares by a watch of our own: the device that stat(2) shows is not always the kernel's (btrfs, overlayfs), but
 * inotify shows that.
 */
static bool same_inode(const char *path, const struct watched_inode *w)
{
	_cleanup_close_ int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), info = -1;
	unsigned long long ino;
	char name[40], text[1024], *at;
	unsigned s_dev;
	ssize_t n;

	if (fd < 0 || inotify_add_watch(fd, lookup_path(path), IN_DELETE_SELF | IN_DONT_FOLLOW) < 0)
		return false;
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
	info = open(name, O_RDONLY | O_CLOEXEC);
	n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	at = strstr(text, "inotify wd:");
	return at && sscanf(at, "inotify wd:%*x ino:%llx sdev:%x", &ino, &s_dev) == 2 && ino == w->ino &&
	       s_dev == w->s_dev;
}

static void compare_path(struct scan *s, const char *path, uint64_t ino)
{
	struct wanted_inode *p;

	HASH_FIND(hh, s->wanted, &ino, sizeof(ino), p);
	for (; p; p = p->next) {
		if (p->w->fh->path || !same_inode(path, p->w))
			continue;
		p->w->fh->path = arena_strdup(s->arena, path);
		s->left--;
	}
}

static void walk_below(struct dump *d, struct scan *s, const char *dir, size_t limit)
{
	char *const roots[] = { (char *)dir, NULL };
	FTS *fts = foreign_files_block(d, dir) ? NULL : fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
	FTSENT *e;

	while (fts && s->left && (!limit || s->seen < limit) && (e = fts_read(fts))) {
		if (e->fts_info == FTS_DP || e->fts_info == FTS_NS || e->fts_info == FTS_ERR)
			continue;
		s->seen++;
		compare_path(s, e->fts_path, e->fts_statp->st_ino);
	}
	if (fts)
		fts_close(fts);
}

/* Below what a link in /proc/PID shows, or in its directory where that is not a directory itself. */
static void walk_link(struct dump *d, struct scan *s, const struct task *t, const char *link)
{
	char path[PATH_MAX], *slash;
	ssize_t n = readlinkat(t->dump->proc_fd, link, path, sizeof(path) - 1);
	struct stat st;

	if (n <= 0 || path[0] != '/')
		return;
	path[n] = 0;
	if (foreign_files_enters(d, path) || lookup_stat(path, &st))
		return;
	compare_path(s, path, st.st_ino);
	slash = strrchr(path, '/');
	if (!S_ISDIR(st.st_mode))
		slash[slash == path] = 0;
	walk_below(d, s, path, SCAN_MAX);
}

static void walk_task(struct dump *d, struct scan *s, const struct task *t)
{
	char link[32];

	if (!t->dump || t->state == TASK_DEAD)
		return;
	walk_link(d, s, t, "cwd");
	for (size_t i = 0; i < t->n_fds && s->left && s->seen < SCAN_MAX; i++) {
		snprintf(link, sizeof(link), "fd/%u", t->fds[i]->fd);
		walk_link(d, s, t, link);
	}
	walk_link(d, s, t, "exe");
}

static void add_wanted(struct scan *s, struct watched_inode *w)
{
	struct wanted_inode *p = arena_new_of(s->arena, struct wanted_inode), *first;

	p->ino = w->ino;
	p->w = w;
	s->left++;
	HASH_FIND(hh, s->wanted, &p->ino, sizeof(p->ino), first);
	if (first) {
		p->next = first->next;
		first->next = p;
	} else {
		HASH_ADD_IN(s->arena, hh, s->wanted, ino, sizeof(p->ino), p);
	}
}

/* A file may have been renamed since: each path is looked at. */
static void ask_cache(struct dump *d, struct scan *s)
{
	struct image_dir *prev = NULL;
	struct image *img = NULL;
	IrmapCacheEntry *e;

	if (!d->opts->prev_images_dir || image_dir_open_prev(d->dir, d->opts->prev_images_dir, &prev))
		return;
	if (!image_open(prev, IMG_IRMAP_CACHE, 0, &img))
		while (s->left && image_read(img, &irmap_cache_entry__descriptor, d->arena, &e) == 1)
			if (e->path[0] == '/' && !foreign_files_enters(d, e->path))
				compare_path(s, e->path, e->inode);
	image_cleanup(&img);
	image_dir_close(prev);
}

void inode_scan(struct dump *d, struct watched_inode **wanted, size_t n)
{
	struct scan s = { .arena = d->arena };

	for (size_t i = 0; i < n; i++)
		add_wanted(&s, wanted[i]);
	ask_cache(d, &s);
	for (size_t i = 0; i < d->opts->n_irmap_scan_paths && s.left; i++)
		walk_below(d, &s, d->opts->irmap_scan_paths[i], 0);
	s.seen = 0;
	for (size_t i = 0; i < d->tree.n_tasks && s.left && s.seen < SCAN_MAX; i++)
		walk_task(d, &s, d->tree.tasks[i]);
	log_debug("looking for %zu watched files in directories: %zu are left", n, s.left);
}
