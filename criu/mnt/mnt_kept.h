/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mount namespaces of an ordinary user. Measured: that user may neither attach mounts in a namespace around nor copy
 * one with locked mounts on it by itself (open_tree(2): EINVAL), so that locked mounts come in one way only: the user
 * namespace copies criu's own namespace, as it did in the beginning. They have to be those that criu has; their flags
 * are set, and all others are attached on them. Peer groups would be others (EPERM for those around): only slaves of
 * criu's own mounts, which such a copy has, come back.
 */
#ifndef CRIU_MNT_MNT_KEPT_H
#define CRIU_MNT_MNT_KEPT_H

#include "mnt/mnt.h"
#include "mnt/mnt_dump.h"

/* Dump: whether a restore by the same user can have the namespace. 0, or a negative errno: the refusal is logged. */
int mnt_kept_foresee(struct dump *d, const struct mnt_dumped *ns);

/* Restore: the same, before anything is started. Notes in ns->kept whether an ordinary user makes it so. */
int mnt_kept_check(struct restore *r, struct mnt_ns *ns);

/*
 * In place of mnt_around_make() and mnt_around_fill(). Without locked mounts (-1, where nothing failed) the namespace
 * is made as root makes one, and what is mounted in criu's own is opened in it first.
 */
int mnt_kept_make(struct restore *r, struct mnt_ns *ns, const struct user_ns *owner, int *fd);
int mnt_kept_fill(struct restore *r, struct mnt_ns *ns);
int mnt_kept_begin(const struct mnt_ns *ns); /* whether mounts there are private is clear when all is done: the end */
int mnt_kept_end(const struct mnt_ns *ns);
int mnt_kept_open_sources(struct restore *r, struct mnt_ns *ns);

#endif
