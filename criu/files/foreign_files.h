/* SPDX-License-Identifier: GPL-2.0-only */
/* Dump: files of a task on foreign file systems (helper/foreign.h), looked at by a helper with the task's identity. */
#ifndef CRIU_FILES_FOREIGN_FILES_H
#define CRIU_FILES_FOREIGN_FILES_H

#include "helper/foreign.h"
#include "tree/kind.h"

/* What this dump knows of mounts, read at the first call. NULL: they cannot be read (logged). */
struct foreign *foreign_files_mounts(struct dump *d);

/*
 * Opens info->handle, an O_PATH of a file, by the link in /proc that leads to the file (path, and what it shows), and
 * sets info->foreign where that is on a foreign file system; else info->st. 0, DUMP_REFUSED where the file system must
 * not be asked, or a negative errno (logged). Nothing of this asks the file system for long.
 */
int foreign_files_find(struct dump *d, struct fd_info *info, const char *path, const char *link);

/* The foreign mount that a look at a path asks, for this file: its own, or one on the way; NULL: no such mount. */
struct foreign_mount *foreign_files_mount(struct dump *d, const struct fd_info *info, const char *path);

/* info->st, as the task sees it. 0, DUMP_REFUSED (no answer; logged), or a negative errno (logged). */
int foreign_files_look(struct dump *d, struct fd_info *info);

/* Whether a path leads through a foreign mount, so that criu itself must not go there. */
bool foreign_files_enters(struct dump *d, const char *path);

/* Whether something is mounted below a directory that does not answer, so that criu must not walk through it. */
bool foreign_files_block(struct dump *d, const char *dir);

/* Refuses the file because its file system did not answer. DUMP_REFUSED. */
int foreign_files_refuse(struct dump *d, const struct fd_info *info);

/*
 * For reading, a file that a link in /proc leads to (what: for messages). -ENODATA: criu must not read it, or not in
 * the end: it is on a foreign file system, has no name any more, is no regular file, or is leased. Another negative
 * errno: logged.
 */
int foreign_files_open_plain(struct dump *d, struct task *t, const char *path, const char *what);

/* Closes info->handle. */
void foreign_files_close(struct fd_info *info);

/*
 * long_path_stat() and mountinfo_mount_id() (*mnt_id, may be NULL: negative where it is not known) of a path, for any
 * file of a dump: by the helper if it is a foreign one. 0 or a negative errno (not logged).
 */
int foreign_files_stat(struct dump *d, const struct fd_info *info, const char *path, int flags, struct stat *st,
                       int *mnt_id);

/* long_path_leads_to() info->st, in the same way. */
bool foreign_files_leads_to(struct dump *d, const struct fd_info *info, const char *path);

/* For foreign_run(): as the task of the file. path: what is asked for, on foreign_files_mount(). */
struct foreign_access foreign_files_access(struct dump *d, const struct fd_info *info, const char *path);

/* The task of the tree that serves this mount through /dev/fuse, which *number gets; NULL: none does. */
const struct task *foreign_server_of(struct dump *d, const struct foreign_mount *m, int *number);

#endif
