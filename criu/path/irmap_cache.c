/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * irmap-cache: to look into directories for a file that is watched takes long, and a tree stands still meanwhile. A
 * pre-dump does so while the tree runs on, and writes down what it has found for the dump to come (path/inode_scan.c).
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image/image.h"
#include "lib/log.h"
#include "path/watched.h"
#include "proc/fdinfo.h"
#include "tree/subsys.h"

/* "inotify wd:1 ino:9e7e sdev:800013 ..." or "fanotify ino:9e7e sdev:800013 ..." */
static void note_line(struct dump *d, struct watched_inodes *all, struct task *t, const char *line, size_t len)
{
	struct watched_inode w = { .task = t, .name = task_name(t), .file_id = arena_new_of(d->arena, uint32_t) };
	const char *at = memmem(line, len, "ino:", 4);
	unsigned long long ino;

	if ((strncmp(line, "inotify wd:", 11) && strncmp(line, "fanotify ino:", 13)) || !at ||
	    sscanf(at, "ino:%llx sdev:%x", &ino, &w.s_dev) != 2)
		return;
	w.ino = ino;
	w.fh = fhandle_parse(d->arena, line, len);
	if (w.fh)
		watched_add(d, all, &w);
}

/* The task runs: what is not there any more is passed over. */
static void note_descriptor(struct dump *d, struct watched_inodes *all, struct task *t, int fd)
{
	struct text_buf buf = { 0 };
	char name[32], link[64];
	const char *info;
	ssize_t n;

	snprintf(name, sizeof(name), "fd/%d", fd);
	n = readlinkat(t->dump->proc_fd, name, link, sizeof(link) - 1);
	link[n > 0 ? n : 0] = '\0';
	if (strcmp(link, "anon_inode:inotify") != 0 && strcmp(link, "anon_inode:[fanotify]") != 0)
		return;
	snprintf(name, sizeof(name), "fdinfo/%d", fd);
	info = proc_read_text(t->dump->proc_fd, name, d->arena, &buf);
	for (const char *line = info, *end; line && *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		note_line(d, all, t, line, (size_t)(end - line));
	}
}

static void note_all(struct dump *d, struct watched_inodes *all)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];
		int *numbers = NULL;
		size_t n = 0;

		if (t->state == TASK_DEAD || proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n))
			continue;
		for (size_t j = 0; j < n; j++)
			note_descriptor(d, all, t, numbers[j]);
	}
}

/* The image is made for the first. */
static int write_entry(struct dump *d, struct image **img, const struct watched_inode *w)
{
	IrmapCacheEntry e = IRMAP_CACHE_ENTRY__INIT;
	int err = *img ? 0 : image_create(d->dir, IMG_IRMAP_CACHE, 0, img);

	e.dev = w->s_dev;
	e.inode = w->ino;
	e.path = w->fh->path;
	return err ?: image_write(*img, &e);
}

static int irmap_cache_pre_running(struct dump *d)
{
	struct watched_inodes all = { 0 };
	struct watched_inode **lost = NULL;
	struct image *img = NULL;
	size_t n = 0;
	int err, closed;

	note_all(d, &all);
	err = watched_find_ahead(d, &all, &lost, &n);
	for (size_t i = 0; !err && i < n; i++)
		if (lost[i]->fh->path)
			err = write_entry(d, &img, lost[i]);
	closed = image_close(img);
	return err ?: closed;
}

const struct subsys irmap_cache_subsys = { .name = "paths of watched files", .pre_running = irmap_cache_pre_running };
