/* SPDX-License-Identifier: GPL-2.0-only */
/* Controlling terminals of sessions. Inside of criu/tty/. */
#ifndef CRIU_TTY_TTY_SESSION_H
#define CRIU_TTY_TTY_SESSION_H

#include "tty/tty_images.h"

/*
 * Dump: sets the session of which a terminal is the controlling one, and its foreground process group; 0 where there is
 * no such session. dev: the terminal's number, as in /proc/PID/stat.
 */
int tty_session_dump(struct dump *d, TtyInfoEntry *e, uint32_t dev);

/* After it: with --shell-job, whether it is that of a session whose leader is outside of the tree's own pid namespace.
 */
bool tty_session_is_callers(struct dump *d, uint32_t dev);

#endif
