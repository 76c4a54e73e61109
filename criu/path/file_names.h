/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: by which names a file that is open can be reached, whatever the text in /proc says. */
#ifndef CRIU_PATH_FILE_NAMES_H
#define CRIU_PATH_FILE_NAMES_H

#include "files/long_path.h"
#include "tree/kind.h"

/* Names of links that a dump of ours or of CRIU's makes begin with these: they are not names of the user's. */
#define OUR_LINK  ".criu."
#define CRIU_LINK "link_remap."

/* The text of the link without " (deleted)". */
const char *file_names_unmark(struct arena *a, const char *link);

/*
 * Another name of a file whose old one (an absolute path) does not lead to it: one in the same directory, one that its
 * file handle leads to, then one found by a bounded search below its directory and those above it. NULL: none found.
 */
const char *file_names_other(struct dump *d, const struct fd_info *info, const char *old);

/* The same, in the directory of the old name alone. */
const char *file_names_beside(struct dump *d, const struct fd_info *info, const char *old);

/* The nearest directory on the way to a name that exists and is on the file system of the file; NULL: none. */
const char *file_names_near_dir(struct dump *d, const struct fd_info *info, const char *name);

#endif
