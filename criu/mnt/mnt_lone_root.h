/* SPDX-License-Identifier: GPL-2.0-only */
/* A file system that has nothing in it but its root directory: its archive, both directions. */
#ifndef CRIU_MNT_MNT_LONE_ROOT_H
#define CRIU_MNT_MNT_LONE_ROOT_H

#include <time.h>

#include "common.h"

struct lone_root {
	long mode, uid, gid;
	struct timespec atime, mtime;
};

#define LONE_ROOT_BYTES (5 * 512UL)

/*
 * Dump: the archive (without compression) of a directory that nothing is in; bytes: LONE_ROOT_BYTES of them. false:
 * something is, or may be, or the directory has what takes more to be said (extended attributes, large ids, times
 * before 1970): for tar(1). The directory's time of access stays.
 */
bool mnt_lone_root_write(int dir, char *bytes);

/* Restore: whether this archive (without its compression) has the root directory alone, and nothing that *root cannot
 * say. */
bool mnt_lone_root_read(const char *bytes, size_t size, struct lone_root *root);

/* Gives the directory (a descriptor, O_PATH will do) all that. 0 or a negative errno (logged); name: the image. */
int mnt_lone_root_make(const struct lone_root *root, int dir, const char *name);

#endif
