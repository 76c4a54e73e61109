/* SPDX-License-Identifier: GPL-2.0-only */
/* criu's own limit of open files (RLIMIT_NOFILE); tasks get theirs from the images. */
#ifndef CRIU_FILES_FD_LIMIT_H
#define CRIU_FILES_FD_LIMIT_H

#include "tree/restore.h"

/*
 * Restore: makes the soft limit as high as the hard one, and that high enough for the highest number that a task needs,
 * which criu's own limit must allow. Refuses where that is not permitted. 0 or a negative errno (logged).
 */
int fd_limit_for_tasks(struct restore *r);

/*
 * Restore: asks for n descriptors at once, which is only to be faster. Returns the number from which on descriptors are
 * scarce (0 where that is not known).
 */
int fd_limit_for_files(size_t n);

#endif
