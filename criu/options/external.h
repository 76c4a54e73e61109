/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Resources from outside: what `--external` (and at dump `--inherit-fd`) says is not to be dumped, and the descriptors
 * that
 * `--inherit-fd 'fd[N]:RESOURCE'` hands in at restore. RESOURCE: pipe:[inode], socket:[inode], tty[rdev:dev],
 * file[mnt_id:inode], unix[inode], a path.
 */
#ifndef CRIU_OPTIONS_EXTERNAL_H
#define CRIU_OPTIONS_EXTERNAL_H

#include "options/options.h"

/* Whether a resource was named: --external RESOURCE or, at dump, --inherit-fd RESOURCE. */
bool external_named(const struct options *o, const char *resource);

/* Whether datagram sockets may be connected to that one outside: --ext-unix-sk[=INODE], --external unix[INODE]. */
bool external_unix(const struct options *o, uint32_t ino);

/* The descriptor of the tool's that was handed in for a resource at restore, or -ENOENT (not logged). The caller does
 * not close it. */
int inherited_fd(const struct options *o, const char *resource);

/* The resource of "fd[N]:RESOURCE", and N; NULL where the text is of another form. */
const char *inherited_resource(const char *text, int *fd);

/*
 * Checks all of --inherit-fd at the start of a restore: form, and that each descriptor exists. debug[N]:text is
 * written. 0 or a negative errno (logged).
 */
int inherited_check(const struct options *o);

#endif
