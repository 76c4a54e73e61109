/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Open file descriptions, the same for all kinds: their ids and sharing at dump, finding and opening them once at
 * restore, and descriptor tables. Kinds fill and open single messages (tree/kind.h).
 */
#ifndef CRIU_FILES_FILES_H
#define CRIU_FILES_FILES_H

#include "files/files_dump.h"
#include "files/files_restore.h"

/*
 * Raises criu's own soft limit of open files to its hard one; tasks get theirs from the images. Before criu has
 * threads: the table of descriptors gets room for some thousands.
 */
void files_raise_limit(void);

/* How many descriptors may be open only to be faster: an eighth of what criu may have open. */
size_t files_spare(void);

#endif
