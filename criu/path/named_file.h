/* SPDX-License-Identifier: GPL-2.0-only */
/* Restore: a file by its name alone, which leads to it as it did at the dump. Ghosts are in path/ghost.h. */
#ifndef CRIU_PATH_NAMED_FILE_H
#define CRIU_PATH_NAMED_FILE_H

#include "files/files.h"
#include "regfile.pb-c.h"

/* As fd_kind.check: does the file exist, with the same type, size and build? */
int named_file_check(struct restore *r, const RegFileEntry *m, const char **why);

/*
 * Opens it with the given flags (O_*; those that act on opening only are left out) and checks that the type is as it
 * was. Our descriptor or a negative errno (logged).
 */
int named_file_open(struct restore *r, const RegFileEntry *m, uint32_t flags);

#endif
