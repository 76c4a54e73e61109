/* SPDX-License-Identifier: GPL-2.0-only */
/* Settings of a terminal: termios and window size, between ioctl_tty(2) and tty_info_entry. */
#ifndef CRIU_TTY_TTY_SETTINGS_H
#define CRIU_TTY_TTY_SETTINGS_H

#include "lib/arena.h"
#include "tty.pb-c.h"
#include "tty/tty_queue.h"

/*
 * Fills termios, termios_locked, winsize, exclusive, and for masters locked and packet_mode. A negative errno is not
 * logged; -EIO: the terminal was hung up.
 */
int tty_settings_read(struct arena *a, int fd, bool master, TtyInfoEntry *info);

/* Sets termios, what of it is locked, and packet mode, as far as the entry has them; the rest of *m stays. */
void tty_settings_to_mode(const TtyInfoEntry *info, struct tty_mode *m);

/* Sets termios (and what of it is locked). Negative errno, not logged. */
int tty_settings_set_termios(int fd, const TtyInfoEntry *info);

/* Sets the window's size. Negative errno, not logged. */
int tty_settings_set_size(int fd, const TtyInfoEntry *info);

#endif
