/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether a file by path is at restore what it was at dump: --file-validation. */
#ifndef CRIU_PATH_VALIDATE_H
#define CRIU_PATH_VALIDATE_H

#include "files/files.h"
#include "regfile.pb-c.h"

/* Dump: fills size, and build id or checksum, of a regular file. 0 or a negative errno (logged). */
int validate_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

/*
 * Restore, as fd_kind.check: mode, size and the rest. st: of the file as it is now, of the same type; a: of a foreign
 * file, whose handle is read; NULL: m->name is opened.
 */
struct foreign_access;
int validate_check(struct restore *r, const RegFileEntry *m, const struct stat *st, const struct foreign_access *a,
                   const char **why);

#endif
