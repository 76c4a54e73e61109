/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What takes another root or cwd than the tool's: done by a short-lived clone that shares our memory and descriptors
 * and has a root and cwd of its own. Nothing is logged here.
 */
#ifndef CRIU_SOCK_UNIX_CHROOT_HELPER_H
#define CRIU_SOCK_UNIX_CHROOT_HELPER_H

#include <sys/un.h>

#include "common.h"

#define SOCK_FILE ".criu.sock"

/*
 * Binds fd to a path as if the folder were the root; the socket's file has another name in the folder afterwards.
 * Several in one folder, where they have the same string there, need names that differ in their last part alone.
 */
struct chroot_helper_bind {
	int at; /* the folder, from here */
	const char *folder;
	const char *file; /* the other name */
	int fd;
	const char *name; /* len bytes, at most as many as fit into an address */
	size_t len;
	int err; /* what came of it */
};

/* All of them, by one clone. A negative errno: it could not go on, -ECANCELED in those that are not done. */
int chroot_helper_bind(struct chroot_helper_bind *binds, size_t n);

/* Connects to a socket's file in a folder, however long its name is. */
int chroot_helper_connect(int fd, int dir, const char *name, size_t len);

/* A file system in memory that is mounted nowhere: a descriptor of its root. */
int chroot_helper_tmpfs(void);

/* Fills an address with a name (path or abstract); its length. */
socklen_t unix_address(struct sockaddr_un *a, const void *name, size_t len);

#endif
