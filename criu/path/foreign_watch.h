/* SPDX-License-Identifier: GPL-2.0-only */
/* Watched inodes on foreign file systems (helper/foreign.h): a helper with criu's own identity opens their handles. */
#ifndef CRIU_PATH_FOREIGN_WATCH_H
#define CRIU_PATH_FOREIGN_WATCH_H

#include <limits.h>
#include <sys/stat.h>

#include "fh.pb-c.h"
#include "helper/foreign.h"

struct foreign_watched {
	struct stat st;
	char path[PATH_MAX]; /* that leads to the inode; "": none is known */
};

/* The inode, by its handle, else by its path (may be NULL), as O_PATH. A negative errno (not logged). */
int foreign_watch_open(struct foreign *f, struct foreign_mount *m, const FhEntry *fh, const char *path,
                       struct foreign_watched *w);

#endif
