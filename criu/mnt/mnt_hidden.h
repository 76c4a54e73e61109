/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Dump: the contents of a file system on which locked mounts lie (mnt_locked.c). What those cover cannot be reached by
 * anybody. What can be told is how many files there are in all: so that nothing but their places is hidden.
 */
#ifndef CRIU_MNT_MNT_HIDDEN_H
#define CRIU_MNT_MNT_HIDDEN_H

#include "mnt/mnt_dump.h"

struct mnt_hidden {
	char **places; /* below the mount: directories and files that are covered */
	size_t n;
};

/*
 * The places on a mount (number k of ns) that stay covered; they are noted in its entry, so that a restore makes them.
 * dir: what bare_mount_open() returned. 0 or a negative errno (logged).
 */
int mnt_hidden_find(struct dump *d, const struct mnt_dumped *ns, size_t k, int dir, struct mnt_hidden *h);

/* Whether there is nothing else that is covered. 0 or a refusal (logged). */
int mnt_hidden_check(struct dump *d, const char *who, int dir, const struct mnt_hidden *h);

#endif
