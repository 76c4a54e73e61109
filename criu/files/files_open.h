/* SPDX-License-Identifier: GPL-2.0-only */
/* Private to files/: criu's descriptors of open files, beside what files_restore.h offers to other folders. */
#ifndef CRIU_FILES_FILES_OPEN_H
#define CRIU_FILES_FILES_OPEN_H

#include "files/open_file.h"

/* As files_borrow(). */
int files_open_duplicate(struct restore *r, struct open_file *f);

/*
 * A descriptor table has got the file under this number: criu's descriptor is closed when it was the last table that
 * wants it, or when criu has too many open.
 */
void files_open_installed(struct restore *r, uint32_t id, struct task *t, int number);

/* Closes all that criu has open: no more is borrowed after this. */
void files_open_close_all(struct restore *r);

#endif
