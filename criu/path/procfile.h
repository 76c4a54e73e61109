/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files of processes in /proc: of one in the tree they come back by their path, once all processes and threads exist;
 * of one that is gone they are opened in a stand-in process of that number, which lives no longer (remap-fpath.img).
 */
#ifndef CRIU_PATH_PROCFILE_H
#define CRIU_PATH_PROCFILE_H

#include "files/files.h"
#include "regfile.pb-c.h"

/* /proc/812/task/815/stat: 812, 815, "/stat". */
struct proc_path {
	size_t mount_len; /* of "/proc", or where it is mounted */
	pid_t pid;
	pid_t tid;        /* 0 outside of a task/ directory */
	const char *rest; /* from the slash on; "" for the directory itself */
};

/* Whether a path leads below /proc/PID: false for all others. */
bool procfile_parse_path(const char *path, struct proc_path *p);

/* Fills the message of a file whose link is such a path. 0, DUMP_REFUSED, or a negative errno (logged). */
int procfile_dump(struct dump *d, const struct fd_info *info, const struct proc_path *p, RegFileEntry *m);

/* Before anything is checked: which files are of processes that are gone. */
int procfile_read_images(struct restore *r);

/* As fd_kind.check (1: not a file of a process) and fd_kind.open, which opens all others with open_one(). */
int procfile_check(struct restore *r, const RegFileEntry *m, const char **why);
int procfile_open(struct restore *r, const RegFileEntry *m, int (*open_one)(struct restore *, const RegFileEntry *));

#endif
