/* SPDX-License-Identifier: GPL-2.0-only */
/* A mount that may be hidden, as a detached copy on which nothing lies. */
#ifndef CRIU_HELPER_BARE_MOUNT_H
#define CRIU_HELPER_BARE_MOUNT_H

#include "helper/helper.h"
#include "proc/mountinfo.h"

/*
 * A detached copy of one mount of a namespace (ns_fd; -1: criu's own) without what lies over it, wherever it is hidden.
 * all: the mounts of that namespace. Of another namespace than criu's: with the locked mounts that lie on it, if there
 * are any (mnt/mnt_hidden.h). A descriptor or a negative errno (not always logged).
 */
int bare_mount_open(struct arena *a, int ns_fd, const struct mount_at *all, size_t n, const struct mount_at *m);

/*
 * The same of several mounts of one namespace, by one process that enters it, as far as nothing hides them: fds[i] is a
 * descriptor, or -1: bare_mount_open() is to be asked.
 */
void bare_mount_open_visible(int ns_fd, const struct mount_at *const *mounts, size_t n, int *fds);

/* The same, of criu's own: a slave of that mount, or in its peer group. */
int bare_mount_slave(struct arena *a, const struct mount_at *all, size_t n, const struct mount_at *m);

/* The user namespace that a mount namespace belongs to: a descriptor, or -ENOENT: criu's. */
int bare_mount_owner(int ns_fd);

/* A function in a copy that belongs to that one too: what it returned, or a negative errno (logged). */
int bare_mount_copy_as(int owner, int ns_fd, helper_fn fn, void *arg);

/* Whether one in a copy of a namespace may be that of another in the namespace itself. */
bool bare_mount_is_alike(const struct mount_at *copy, const struct mount_at *m);

#endif
