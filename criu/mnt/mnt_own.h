/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: mounts of criu's own namespace, from which file systems, peer groups and masters are taken. */
#ifndef CRIU_MNT_MNT_OWN_H
#define CRIU_MNT_MNT_OWN_H

#include "mnt/mnt.h"

/* mnt_source.c: a mount of criu's own; where several lie over each other, of the same device or else the same type. */
struct own_mount {
	const char *path, *root;      /* root may be NULL: any */
	bool only_shared, only_alone; /* in a peer group; or not */
};
const struct mount_at *mnt_own_find(const MntEntry *e, const struct own_mount *wanted, const struct mount_at *own,
                                    size_t n);

#endif
