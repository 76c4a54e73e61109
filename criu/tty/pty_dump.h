/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/tty/: the dump's half of the row in pty.c; see fd_kind. */
#ifndef CRIU_TTY_PTY_DUMP_H
#define CRIU_TTY_PTY_DUMP_H

#include "core/kind.h"

bool pty_match(const struct fd_info *info);
int pty_dump(struct dump *d, const struct fd_info *info, void *msg);
int pty_write_images(struct dump *d);

#endif
