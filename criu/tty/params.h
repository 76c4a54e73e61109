/* SPDX-License-Identifier: GPL-2.0-only */
/* Settings of a terminal: termios and window size, between ioctl_tty(2) and tty_info_entry. */
#ifndef CRIU_TTY_PARAMS_H
#define CRIU_TTY_PARAMS_H

#include "lib/arena.h"
#include "tty.pb-c.h"
#include "tty/queue.h"

/* Fills termios, termios_locked, winsize, exclusive, and for masters locked and packet_mode. -EIO: it was hung up. */
int tty_params_read(struct arena *a, int fd, bool master, TtyInfoEntry *info);

/* Termios, what of it is locked, and packet mode, of what the entry says; the rest of *m stays. */
void tty_params_mode(const TtyInfoEntry *info, struct tty_mode *m);

/* Sets termios (and what of it is locked). Negative errno, not logged. */
int tty_params_set_termios(int fd, const TtyInfoEntry *info);

/* Sets the window's size. */
int tty_params_set_size(int fd, const TtyInfoEntry *info);

#endif
