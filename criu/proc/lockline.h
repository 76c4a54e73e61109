/* SPDX-License-Identifier: GPL-2.0-only */
/* A lock, as a line of /proc/PID/fdinfo/N ("lock:\t1: POSIX ...") or of /proc/locks ("1: POSIX ...") shows it; proc(5).
 */
#ifndef CRIU_PROC_LOCKLINE_H
#define CRIU_PROC_LOCKLINE_H

#include <sys/stat.h>

#include "common.h"
#include "format.h"

struct lock_line {
	enum file_lock_flag kind;
	int type;      /* F_RDLCK, F_WRLCK, F_UNLCK; of a lease that is being broken: what it is to become */
	bool breaking; /* a lease that another opener waits for */
	pid_t pid;     /* the owner, in the reader's namespace; -1: no process (OFD); 0: not visible from here */
	uint64_t dev_major, dev_minor, ino;
	int64_t start, len; /* len 0: to the end of the file, however far that is */
};

/* One line (it ends at a newline or a zero). -EBADMSG: it is no such line; -ENOTSUP: a kind that is not known. */
int lockline_parse(const char *line, struct lock_line *out);

/* The line after this one, or NULL. */
const char *proc_next_line(const char *line);

/*
 * Whether some process has a lease on the file, or may have: to open it breaks the lease, or waits for the holder.
 * NULL: on any file of the machine.
 */
bool lockline_is_leased(const struct stat *st);

#endif
