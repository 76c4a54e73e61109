/* SPDX-License-Identifier: GPL-2.0-only */
/* A mount namespace that belongs to a user namespace, some of whose mounts are locked (mount_namespaces(7)). */
#ifndef CRIU_MNT_MNT_AROUND_H
#define CRIU_MNT_MNT_AROUND_H

#include "mnt/mnt.h"

/*
 * A new one that belongs to owner: a descriptor, or a negative errno (logged). Then, in it, the mounts that are not
 * locked. Which ones are there before.
 */
int mnt_around_make(struct restore *r, struct mnt_ns *ns, const struct user_ns *owner);
int mnt_around_fill(struct restore *r, struct mnt_ns *ns);
bool mnt_is_around(const struct mnt *m);
int mnt_around_open_point(struct mnt *m); /* in the copy: the place of one on those that are there. Errors are logged */

/* mnt_build.c: in the new namespace: all that can be attached. */
int mnt_attach_all(struct restore *r, struct mnt_ns *ns);
int mnt_open_place(int dir, const char *path);
int mnt_clone_early(struct restore *r, struct mnt_ns *ns, struct mnt *m); /* before any is attached */

/* mnt_build.c: made inside, when what its options name is there. */
bool mnt_is_late(const struct mnt *m);

/* mnt_share.c: it gets the master that criu's namespace has at a path, at once. 0 or a negative errno (logged). */
int mnt_share_master(struct restore *r, const struct mnt *m, const char *path);

#endif
