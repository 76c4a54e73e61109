/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Paths longer than PATH_MAX, which no system call takes at once: a program gets there by entering directories by
 * relative names. The kernel does not show such paths either.
 */
#ifndef CRIU_FILES_LONG_PATH_H
#define CRIU_FILES_LONG_PATH_H

#include <sys/stat.h>

#include "tree/kind.h"

/* As open(2) and fstatat(2) of an absolute path of any length: a descriptor or 0, or a negative errno (not logged). */
int long_path_open(const char *path, int flags);
int long_path_stat(const char *path, int flags, struct stat *st);

/* Whether looking up the path ends at this inode (a symbolic link at its end is not followed if it is one). */
bool long_path_leads_to(const char *path, const struct stat *st);

/*
 * Dump: what /proc would show as the link of a file (info->fd, st, task) if it could. A directory is found by climbing,
 * another file in the working directory of the task and the directories that it has open. From the arena; if it is not
 * found, a name in its mount that leads nowhere.
 */
const char *long_path_link(struct dump *d, const struct fd_info *info);

#endif
