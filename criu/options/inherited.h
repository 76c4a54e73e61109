/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors of criu's that are inherited at restore: `--inherit-fd 'fd[N]:RESOURCE'`. */
#ifndef CRIU_OPTIONS_INHERITED_H
#define CRIU_OPTIONS_INHERITED_H

#include "options/options.h"

/* The descriptor of criu's that was handed in for a resource at restore, or -ENOENT (not logged). The caller does
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
