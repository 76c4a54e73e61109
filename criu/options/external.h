/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Resources that stay outside of a checkpoint: what `--external`, and at dump `--inherit-fd`, names. RESOURCE:
 * pipe:[inode], socket:[inode], tty[rdev:dev], file[mnt_id:inode], unix[inode], a path.
 */
#ifndef CRIU_OPTIONS_EXTERNAL_H
#define CRIU_OPTIONS_EXTERNAL_H

#include "options/options.h"

/* Whether a resource was named: --external RESOURCE or, at dump, --inherit-fd RESOURCE. */
bool external_named(const struct options *o, const char *resource);

/* Of --external RESOURCE:VALUE the value; NULL: none. */
const char *external_value(const struct options *o, const char *resource);

/*
 * What --external mnt[KEY]:VALUE or --ext-mount-map KEY:VALUE gives for a key (at dump: the place of a mount, at
 * restore: a name that the dump was given); NULL: nothing.
 */
const char *external_mount(const struct options *o, const char *key);

/* Whether datagram sockets may be connected to that one outside: --ext-unix-sk[=INODE], --external unix[INODE]. */
bool external_unix(const struct options *o, uint32_t ino);

#endif
