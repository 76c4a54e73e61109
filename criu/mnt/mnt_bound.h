/* SPDX-License-Identifier: GPL-2.0-only */
/* Mounts that are a namespace (nsfs). */
#ifndef CRIU_MNT_MNT_BOUND_H
#define CRIU_MNT_MNT_BOUND_H

#include "mnt/mnt.h"

/* Dump: what such a mount is, which was looked at before. 0 or a negative errno (logged). */
int mnt_bound_describe(struct dump *d, const struct mount_at *m, MntEntry *e);

/* Restore: refuses one that no image has. 0 or a negative errno (logged). */
int mnt_bound_check(struct restore *r, const struct mnt *m);

/* A descriptor of the namespace; -ENOENT: it does not exist yet, or another errno (logged). Then makes the mount. */
int mnt_bound_open(struct restore *r, const struct super *s);
int mnt_bound_make(struct super *s);

#endif
