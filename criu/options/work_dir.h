/* SPDX-License-Identifier: GPL-2.0-only */
/* The work directory: where logs, pid files and statistics go. criu never changes into it. */
#ifndef CRIU_OPTIONS_WORK_DIR_H
#define CRIU_OPTIONS_WORK_DIR_H

#include "options/options.h"

/*
 * Its descriptor (O_PATH), and a file in it, created or truncated, for writing, mode 0600. Negative errno (logged). The
 * caller closes.
 */
int work_dir_open(const struct options *o);
int work_dir_create(const struct options *o, const char *name);

/* --pidfile: writes pid into it; does nothing without the option. 0 or a negative errno (logged). */
int work_dir_write_pidfile(const struct options *o, pid_t pid);

#endif
