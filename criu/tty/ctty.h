/* SPDX-License-Identifier: GPL-2.0-only */
/* Descriptors of /dev/tty. Inside of criu/tty/. */
#ifndef CRIU_TTY_CTTY_H
#define CRIU_TTY_CTTY_H

#include "tty/tty_images.h"

/* Dump: what kind.dump() may return. */
int ctty_dump(struct dump *d, const struct fd_info *info, struct terminal *t);

/* Whether it leads to the terminal in which criu runs (--shell-job). */
bool ctty_is_job(const struct restore *r, const TtyInfoEntry *e);

int ctty_check(struct restore *r, const TtyInfoEntry *e, const char **why);

/* Opens the file for all tasks that have it, if it is a /dev/tty. */
int ctty_prepare(struct restore *r, const TtyFileEntry *m);

#endif
