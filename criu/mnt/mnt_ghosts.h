/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files and directories that are mounted and were deleted: what mountinfo shows as "/name//deleted"; and files of a
 * tmpfs of which no mount shows a directory that has them. Their contents are in ghost-file-N.img.
 */
#ifndef CRIU_MNT_MNT_GHOSTS_H
#define CRIU_MNT_MNT_GHOSTS_H

#include "mnt/mnt_dump.h"

/* How mountinfo ends the root of such a mount. */
#define MNT_DELETED "//deleted"

/* Dump: all mounts are described: keeps what has no name, or refuses. 0 or a negative errno (logged). */
int mnt_ghosts_collect(struct dump *d, const struct mnt_dump *all);

/* Restore: all images are read, file systems found. 0 or a negative errno (logged). */
int mnt_ghosts_check(struct restore *r, const struct mnt *m);

/* Whether what is mounted comes from mnt_ghosts_make(). */
bool mnt_is_ghost(const struct mnt *m);

/* Makes those of a file system that stands, each with a name for now. 0 or a negative errno (logged). */
int mnt_ghosts_make(struct restore *r, struct super *s);

/* Where it is, below what the file system's mount shows. */
const char *mnt_ghost_path(const struct mnt *m);

/* All mounts are in their places: takes the names away. 0 or a negative errno (logged). */
int mnt_ghosts_finish(struct restore *r);

void mnt_ghosts_close(struct super *s);

#endif
