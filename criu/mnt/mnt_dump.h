/* SPDX-License-Identifier: GPL-2.0-only */
/* What a dump knows of mounts. */
#ifndef CRIU_MNT_MNT_DUMP_H
#define CRIU_MNT_MNT_DUMP_H

#include <dirent.h>

#include "helper/ns_roots.h"
#include "mnt/mnt.h"

struct mnt_dumped {
	const struct ns_root *ns;
	MntEntry **all; /* of ns->mounts, in the same order; NULL: left out */
	size_t n;
};

struct mnt_dump {
	struct mnt_dumped *ns;
	size_t n;
	struct mnt_dumped *external; /* no part of the checkpoint */
	size_t n_external;
};

/* Whether another mount that is dumped shows more of the same file system. */
bool mnt_is_within_another(const struct mnt_dump *all, const struct mount_at *m);

/*
 * For what walks through a file system: takes fd, a directory `depth` below where the walk began. NULL: errno; ELOOP
 * beyond any depth that is walked through. The caller closes the directory.
 */
DIR *mnt_walk_open(int fd, int depth);

/* Describes all mounts, or refuses some. 0 or a negative errno (logged). */
int mnt_dump_collect(struct dump *d, struct mnt_dump *all);

/* mountpoints-ID.img, and what is in file systems of the tree's own. 0 or a negative errno (logged). */
int mnt_dump_write(struct dump *d, const struct mnt_dump *all);

/*
 * mnt_locked.c: which mounts of a namespace are locked, noted in its entries (NULL: left out). 0 or a negative errno
 * (logged).
 */
int mnt_locked_find(struct dump *d, const struct ns_root *ns, MntEntry **all);

/* Whether a mount is left out (--skip-mnt), and where criu's own namespace has the same file system. NULL: nowhere. */
bool mnt_is_skipped(struct dump *d, const struct ns_root *ns, const struct mount_at *m);
const struct mount_at *mnt_own_of(struct dump *d, const struct mount_at *m);

/* mnt_owners.c: refuses what an ordinary user's restore could not make again in a mount (a directory of it). */
int mnt_owners_check(const char *who, int dir);

/* mnt_contents.c: tmpfs-dev-N.tar.gz.img. */
int mnt_contents_dump(struct dump *d, const struct mnt_dump *all);

/* mnt_sockets.c: files of sockets in what a mount shows, noted in e; and made again. 0 or a negative errno (logged). */
int mnt_sockets_dump(struct dump *d, const char *who, int dir, MntEntry *e);
int mnt_sockets_restore(struct restore *r, const struct super *s);

/* mnt_inode_flags.c: of a directory, noted in e; of a file system that will be read-only; of all others at the end. */
int mnt_inode_flags_dump(struct dump *d, const char *who, int dir, MntEntry *e);
int mnt_inode_flags_restore(struct restore *r, const struct super *s);
int mnt_inode_flags_finish(struct restore *r);

/* Restore: fills a new file system. 0 or a negative errno (logged). */
int mnt_contents_restore(struct restore *r, struct super *s);

/* A function by a process that can make files there: one in the user namespace of the file system, where it has one.
 * What that returned, or a negative errno (logged). */
int mnt_as_inside(struct restore *r, struct super *s, int (*fn)(struct restore *r, struct super *s));

#endif
