/* SPDX-License-Identifier: GPL-2.0-only */
/* Mounts that show files with other owners (MOUNT_ATTR_IDMAP of mount_setattr(2)). */
#ifndef CRIU_MNT_MNT_IDMAP_H
#define CRIU_MNT_MNT_IDMAP_H

#include "mnt/mnt_dump.h"

bool mnt_is_idmapped(const struct mount_at *m);

/* Dump: notes how its ids are mapped. 0 or a negative errno (logged). */
int mnt_idmap_dump(struct dump *d, const struct ns_root *ns, const struct mount_at *m, MntEntry *e);

/* Restore: user namespaces with the maps that are wanted, before criu has threads. 0 or a negative errno (logged). */
int mnt_idmap_make(struct restore *r);

/* The one of a mount; -1: its ids are not mapped. */
int mnt_idmap_of(struct restore *r, const MntEntry *e);

void mnt_idmap_close(struct restore *r);

#endif
