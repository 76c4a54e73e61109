/* SPDX-License-Identifier: GPL-2.0-only */
/* Private to files/: filling a struct fd_info with what the kernel shows of a descriptor. */
#ifndef CRIU_FILES_FD_INFO_H
#define CRIU_FILES_FD_INFO_H

#include "proc/fdinfo.h"
#include "tree/kind.h"

/* fstat(2); all zero where the kernel does not know. Signal-safe. 0 or a negative errno (not logged). */
int fd_info_look(int fd, struct stat *st);

/* info->st of info->fd; all zero where the kernel does not know: a directory in /proc of a process that is gone. */
int fd_info_stat(struct fd_info *info);

/*
 * info->link, relative to dir_fd; `link` has room for `size` bytes. A path that is too long for the kernel is looked
 * for in other ways. Needs info->st. 0 or a negative errno (logged).
 */
int fd_info_read_link(struct dump *d, struct fd_info *info, int dir_fd, const char *path, char *link, size_t size);

/*
 * info->info (unless it was prefetched) and what is in it, of descriptor `number` of the process whose /proc/PID is
 * open. `text` holds it. 0 or a negative errno (logged).
 */
int fd_info_read(struct dump *d, struct fd_info *info, int proc_fd, int number, struct text_buf *text, bool *cloexec);

/* info->link, unless it is there: only a description that is new needs its name. fd_info_read() was before. */
int fd_info_name(struct dump *d, struct fd_info *info, int proc_fd, int number, char *link, size_t size);

/* Why the kernel shows none of a task's files in /proc, for an error with that errno: "" or " (...)". */
const char *fd_info_way_out(int err);

#endif
