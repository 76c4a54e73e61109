/* SPDX-License-Identifier: GPL-2.0-only */
/* File handles (open_by_handle_at(2)) as /proc shows those of watched inodes and as images hold them. */
#ifndef CRIU_PATH_FHANDLE_H
#define CRIU_PATH_FHANDLE_H

#include "proc/mountinfo.h"
#include "fh.pb-c.h"

/* The mounts through which handles are opened. */
struct fhandles {
	struct mount_at *mounts;
	size_t n;
};

/* Reads the mounts. 0 or a negative errno (logged). */
int fhandle_init(struct fhandles *h, struct arena *a);

/* Closes what fhandle_open() kept open. */
void fhandle_close(struct fhandles *h);

/*
 * "fhandle-bytes:8 fhandle-type:1 f_handle:5d03000000000000" inside of a line of len bytes; a message of no bytes where
 * the file system gives none. NULL: not understood.
 */
FhEntry *fhandle_parse(struct arena *a, const char *line, size_t len);

/*
 * The inode that a handle means on the file system s_dev (major << 20 | minor), as O_PATH. The next mount of it is
 * taken by *from, 0 at first: each may show another path. Negative errno (not logged): -ENOENT when there is no mount
 * left, -ESTALE, -EOPNOTSUPP.
 */
int fhandle_open(struct fhandles *h, uint32_t s_dev, const FhEntry *fh, size_t *from);

#endif
