/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kinds ask when something is not in their power: a plugin may know. Each function returns 0 or what is said
 * there, -ENOTSUP when nothing takes the object, or another negative errno (logged).
 */
#ifndef CRIU_TREE_EXTERNALS_H
#define CRIU_TREE_EXTERNALS_H

#include "common.h"

struct dump;
struct restore;

struct externals {
	/* A unix socket that is connected to one outside of the tree: its description `id`, by a duplicate of ours. */
	int (*dump_unix_socket)(struct dump *d, int fd, uint32_t id);
	/* Its new descriptor, the caller's. */
	int (*open_unix_socket)(struct restore *r, uint32_t id);
	/* Before anything is started: whether anything could open it. Not logged. */
	bool (*opens_unix_sockets)(struct restore *r);

	/* A mount whose source is not in the tree's namespaces. */
	int (*dump_mount)(struct dump *d, const char *mountpoint, int id);
	/* Mounts it on `at`, in the caller's mount namespace; *is_file: whether that is to be a file. */
	int (*make_mount)(struct restore *r, int id, const char *at, bool *is_file);
	bool (*makes_mounts)(struct restore *r);

	/* A network device that criu cannot make: whether something else makes it. */
	int (*dump_link)(struct dump *d, int index, int type, const char *kind);
};

/* Of the one row that has them; never NULL. */
const struct externals *subsys_externals(void);

#endif
