/* SPDX-License-Identifier: GPL-2.0-only */
/* Signals for changes in a directory: F_NOTIFY of fcntl(2), dnotify. */
#ifndef CRIU_FD_DNOTIFY_H
#define CRIU_FD_DNOTIFY_H

#include "regfile.pb-c.h"
#include "tree/kind.h"

/* Dump: what is registered on an open directory. 0, DUMP_REFUSED or a negative errno (logged). */
int dnotify_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m);

#endif
