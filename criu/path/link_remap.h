/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --link-remap: files that have names, none of which can be found, get one more from us. It belongs to the checkpoint:
 * it has to stay as long as the images are to be restored.
 */
#ifndef CRIU_PATH_LINK_REMAP_H
#define CRIU_PATH_LINK_REMAP_H

#include "files/files.h"
#include "regfile.pb-c.h"

/*
 * Dump: makes the link, once for each inode, in a directory near the old name, and fills m, whose name is set. 0;
 * DUMP_REFUSED; 1 << 4: the file turns out to have no name left, nothing was done; or a negative errno (logged).
 */
#define LINK_NO_NAME (1 << 4)
int link_remap_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

#endif
