/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: path/named_file.h for files on foreign file systems, by a helper with the identity of the task. */
#ifndef CRIU_PATH_FOREIGN_NAMED_H
#define CRIU_PATH_FOREIGN_NAMED_H

#include "files/foreign_restore.h"
#include "regfile.pb-c.h"

/* Looks, as stat(2); a->handle becomes an O_PATH of the file, the caller's. 0, or a negative errno with *why. */
int foreign_named_look(struct restore *r, const RegFileEntry *m, struct foreign_access *a, struct stat *st,
                       const char **why);

/*
 * open(2) and its position, if it has the type of m. Our descriptor, or one that stands for the helper's; or a negative
 * errno (logged).
 */
int foreign_named_open(struct restore *r, const RegFileEntry *m, const struct foreign_access *a, uint32_t flags);

#endif
