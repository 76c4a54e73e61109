/* SPDX-License-Identifier: GPL-2.0-only */
/* Attributes of ghosts: owner, mode, times, extended attributes, and the inode flags of chattr(1). */
#ifndef CRIU_PATH_GHOST_ATTRS_H
#define CRIU_PATH_GHOST_ATTRS_H

#include "files/files.h"
#include "ghost-file.pb-c.h"

/*
 * Dump: fills xattrs and inode_flags of e for the file fd (of O_PATH where it is not a regular one). who: for messages.
 * 0 or a negative errno (logged).
 */
int ghost_attrs_dump(struct dump *d, const char *who, int fd, GhostFileEntry *e);

/*
 * Restore: sets all but the inode flags, by a descriptor or one of O_PATH. name: for messages. 0 or a negative errno
 * (logged).
 */
int ghost_attrs_restore(const GhostFileEntry *e, const char *name, int fd);

/* Restore: sets the inode flags, when all files are open: an immutable file could not be opened for writing. */
void ghost_attrs_set_inode_flags(const GhostFileEntry *e, const char *name, int fd);

#endif
