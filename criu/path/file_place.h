/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: is a file where its path says, elsewhere, or gone? Decided by device and inode, not by the link's text. */
#ifndef CRIU_PATH_FILE_PLACE_H
#define CRIU_PATH_FILE_PLACE_H

#include "tree/kind.h"

enum file_place {
	FILE_AT_NAME,    /* its name, or another that was found, leads to it */
	FILE_IS_GHOST,   /* it has no name left, or none that may be used: path/ghost.h */
	FILE_NEEDS_LINK, /* it has names, none of which can be found: path/link_remap.h */
	FILE_IS_COVERED, /* at its name, on its mount, which others hide */
	FILE_BY_PATH,    /* a FUSE denies it; its path is taken on trust, and the file not read */
	FILE_REFUSED,    /* refused, and logged */
};

/* *name: where it is (FILE_AT_NAME, FILE_IS_COVERED, FILE_BY_PATH), or the old name without " (deleted)". From the
 * arena. */
enum file_place file_place_find(struct dump *d, const struct fd_info *info, const char **name);

#endif
