/* SPDX-License-Identifier: GPL-2.0-only */
/* /proc/PID/fd and /proc/PID/fdinfo (proc(5)): which descriptors a task has, and what is said of each. */
#ifndef CRIU_PROC_FDINFO_H
#define CRIU_PROC_FDINFO_H

#include "common.h"
#include "lib/arena.h"

/* What every file has in its fdinfo. */
struct fdinfo {
	uint64_t pos;
	uint32_t flags; /* O_*, without O_CLOEXEC */
	bool cloexec;
	int mnt_id; /* -1 where it is not said */
};

/* Reads the common keys out of the text of an fdinfo file; others are passed over. -EINVAL: pos or flags are not there.
 */
int fdinfo_parse(const char *text, struct fdinfo *out);

/*
 * Of a pidfd: its process as we see it (0: we do not, -1: it is gone) and as it is in the innermost pid namespace that
 * the text tells of. -EINVAL (not logged) where the text does not say.
 */
int fdinfo_parse_pidfd(const char *text, int32_t *pid, int32_t *inner);

/* The descriptor numbers of a task, ascending, from the arena. proc_fd: its /proc/PID. Negative errno, not logged. */
int proc_read_fd_numbers(int proc_fd, struct arena *a, int **numbersp, size_t *np);

/* A buffer for texts of any length, reused. Zero-initialised; grows inside the arena. */
struct text_buf {
	char *data;
	size_t size;
};

/* Reads a whole file, relative to dir_fd, as a string. Returns it (valid until the next call), or NULL with errno set.
 */
const char *proc_read_text(int dir_fd, const char *path, struct arena *a, struct text_buf *buf);

/*
 * The number behind "key:" in the text of an fdinfo, in this base. 0, or -EINVAL (not logged) where there is no such
 * line or no number in it.
 */
int fdinfo_number(const char *text, const char *key, int base, uint64_t *v);

/* What stands behind "key:" and spaces, up to the end of all text, or NULL. */
const char *fdinfo_value(const char *text, const char *key);

/* What /proc puts behind the name of a file that has lost it (and what a file may really be called). */
#define PROC_DELETED " (deleted)"

#endif
