/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: a file system that has nothing in it but its root directory. */
#ifndef CRIU_MNT_MNT_LONE_ROOT_H
#define CRIU_MNT_MNT_LONE_ROOT_H

#include <time.h>

#include "common.h"

struct lone_root {
	long mode, uid, gid;
	struct timespec atime, mtime;
};

/* Whether this archive (without its compression) has the root directory alone, and nothing that *root cannot say. */
bool mnt_lone_root_read(const char *bytes, size_t size, struct lone_root *root);

/* Gives the directory (a descriptor, O_PATH will do) all that. 0 or a negative errno (logged); name: the image. */
int mnt_lone_root_make(const struct lone_root *root, int dir, const char *name);

#endif
