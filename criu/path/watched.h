/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inodes that inotify and fanotify watch: the kernel shows device, number and (where the file system has them) a
 * handle, but no path. Dump: finds a path, or makes sure that the handle works. Restore: finds the inode by either.
 */
#ifndef CRIU_PATH_WATCHED_H
#define CRIU_PATH_WATCHED_H

#include "path/fhandle.h"
#include "files/files.h"

struct watched_inode {
	struct task *task;
	const char *name; /* for messages: "pid 812 (x): fd 5: inotify watch 3" */
	uint32_t s_dev;   /* major << 20 | minor */
	uint64_t ino;
	FhEntry *fh;       /* with its path, once that is known */
	uint32_t *file_id; /* set for a deleted file that the tree has open; stays 0 otherwise */
	struct watched_inode *next;
};

/* All that one kind watches in a dump. Zero-initialised. */
struct watched_inodes {
	struct watched_inode *first;
	struct fhandles handles;
};

/* Adds one, to be found. *w is copied into the arena. */
void watched_add(struct dump *d, struct watched_inodes *all, const struct watched_inode *w);

/* Finds all, or refuses. 0 or a negative errno (logged). */
int watched_find(struct dump *d, struct watched_inodes *all);

/*
 * Pre-dump, while the tree runs: looks into directories for what watched_find() would have to look for there, and
 * refuses nothing. *lostp gets those (from the arena; *np at first 0), some with a path now. 0 or a negative errno
 * (logged).
 */
int watched_find_ahead(struct dump *d, struct watched_inodes *all, struct watched_inode ***lostp, size_t *np);

/* Restore: the inode, as O_PATH, ours to close. Negative errno (not logged). */
int watched_open(struct restore *r, uint32_t s_dev, const FhEntry *fh, uint32_t file_id);

/* Before anything is started: 0, or a negative errno and why. */
int watched_check(struct restore *r, uint32_t s_dev, const FhEntry *fh, uint32_t file_id, const char **why);

/* After some of these: closes the mounts that were opened for handles. */
void watched_close_mounts(struct restore *r);

#endif
