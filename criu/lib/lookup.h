/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where names of files are looked up. A file of the tree may lie in another mount namespace than criu's own: its name
 * is then looked up below the root of that, and never leaves it, whatever symbolic links are on the way. Which root
 * that is belongs to the calling thread, and is set around the work on one file; all that takes names of the tree's
 * files goes through this.
 */
#ifndef CRIU_LIB_LOOKUP_H
#define CRIU_LIB_LOOKUP_H

#include <sys/stat.h>

#include "common.h"

struct lookup_root {
	int root;   /* O_PATH of the root directory of a mount namespace */
	int mounts; /* its mountinfo, which can be read again and again */
	/* A name that mounts hide, and what it is (O_PATH); NULL: none. */
	const char *covered;
	int covered_fd;
};

/* Sets the root of this thread, NULL: criu's own. Returns what it was. */
const struct lookup_root *lookup_in(const struct lookup_root *root);

/* NULL: criu's own. */
const struct lookup_root *lookup_now(void);

/* Sets the root again at the end of a block. */
static inline void lookup_cleanup(const struct lookup_root **before)
{
	lookup_in(*before);
}
#define _cleanup_lookup_ __attribute__((cleanup(lookup_cleanup), unused))

/*
 * A name for system calls that take an absolute one and do not follow a link at its end: the same name in criu's own
 * root, else one by way of its directory, which stays open for the next LOOKUP_PATHS calls of this thread. Where the
 * directory cannot be reached the name leads nowhere.
 */
#define LOOKUP_PATHS     16
const char *lookup_path(const char *path);

/* As open(2), stat(2) and lstat(2): -1 with errno. */
int lookup_open(const char *path, int flags, mode_t mode);
int lookup_stat(const char *path, struct stat *st);
int lookup_lstat(const char *path, struct stat *st);

/* As openat(2) of a name below a directory, which must not be left. */
int lookup_open_below(int dir, const char *path, int flags);

#endif
