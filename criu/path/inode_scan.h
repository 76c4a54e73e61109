/* SPDX-License-Identifier: GPL-2.0-only */
/* Looking for inodes in directories: where a file system has no handles, or none that open. */
#ifndef CRIU_PATH_INODE_SCAN_H
#define CRIU_PATH_INODE_SCAN_H

#include "path/watched.h"

/*
 * Looks at the paths that the pre-dump before this one has found (irmap-cache), then at all that lies below the
 * directories of --irmap-scan-path, and then, to a limit, below the working directories and the directories of open
 * files of the tree; each on one file system. Sets the paths that it finds.
 */
void inode_scan(struct dump *d, struct watched_inode **wanted, size_t n);

#endif
