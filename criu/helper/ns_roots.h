/* SPDX-License-Identifier: GPL-2.0-only */
/* The mount namespaces of a tree's own as places where files are looked up (lib/lookup.h), found by the id of a mount.
 */
#ifndef CRIU_HELPER_NS_ROOTS_H
#define CRIU_HELPER_NS_ROOTS_H

#include "lib/lookup.h"
#include "proc/mountinfo.h"
#include "tree/dump.h"
#include "tree/restore.h"

struct ns_root {
	uint32_t id; /* of the namespace in the images */
	int fd;      /* the namespace; -1: not made yet */
	struct lookup_root at;
	struct mount_at *mounts; /* dump: all of them */
	size_t n_mounts;
};

/* ---- dump ---- */

/*
 * The namespace of the tree's own in which a mount is; NULL: it is in criu's own, or not known. A namespace is looked
 * at when it is first needed. 0 or a negative errno (logged).
 */
int ns_roots_of_mount(struct dump *d, int mnt_id, const struct ns_root **root);

/* Whether a mount is in any of these, or in criu's. */
bool ns_roots_has_mount(struct dump *d, int mnt_id);

/* A namespace of the tree's own by its number; NULL: there is none, or it could not be read (logged). */
const struct ns_root *ns_roots_find(struct dump *d, uint32_t id);

/* The mounts of criu's own namespace. 0 or a negative errno (logged). */
int ns_roots_own_mounts(struct dump *d, struct mount_at **mounts, size_t *n);

/*
 * Whether a file, which a path of its namespace does not lead to, is there on its mount, below others; it is noted
 * then. 1, 0, or a negative errno (logged).
 */
int ns_roots_is_covered(struct dump *d, const struct ns_root *ns, int mnt_id, const char *path, const struct stat *st);

/* Whether such a file was found on a mount. */
bool ns_roots_any_covered(struct dump *d, int mnt_id);

/* ---- restore ---- */

/* A namespace that will be made, and a mount (as the images number mounts) that is in it. */
void ns_roots_expect(struct restore *r, uint32_t id);
void ns_roots_expect_mount(struct restore *r, uint32_t id, uint32_t mnt_id);

/* A file of the images that may be on a mount that others hide; then, when that mount stands and nothing lies on it: fd
 * is its directory. 0 or a negative errno (logged). */
void ns_roots_expect_covered(struct restore *r, const void *msg);
int ns_roots_open_covered(struct restore *r, uint32_t mnt_id, const char *mounted_at, int fd);

/* It has been made: fd is kept by the caller. 0 or a negative errno (logged). */
int ns_roots_made(struct restore *r, uint32_t id, int fd);

/* As ns_roots_of_mount() and ns_roots_find(); its fd is -1 as long as it has not been made. */
const struct ns_root *ns_roots_expected(struct restore *r, int64_t mnt_id);
const struct ns_root *ns_roots_by_id(struct restore *r, uint32_t id);

bool ns_roots_any(struct restore *r);

/*
 * The name of a directory of a file of the images (msg has its mnt_id) for system calls, which stays good as long as
 * the restore: the directory is kept open. NULL: it cannot be opened (errno).
 */
const char *ns_roots_keep_dir(struct restore *r, const void *msg, const char *dir);

/* That mount is made when tasks are there: its files are looked at when they are opened. */
void ns_roots_set_late(struct restore *r, uint32_t mnt_id);

/* Whether it lies in a namespace that has not been made, or on such a mount. */
bool ns_roots_is_future(struct restore *r, const void *msg);

/* The place of a file of the images by the field mnt_id of its message, for lookup_in(). */
const struct lookup_root *ns_roots_of_message(struct restore *r, const void *msg);

#endif
