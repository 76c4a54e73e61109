/* SPDX-License-Identifier: GPL-2.0-only */
/* Pseudo terminals as pairs of a master and a slave: found at dump, made at restore. Inside of criu/tty/. */
#ifndef CRIU_TTY_PTY_H
#define CRIU_TTY_PTY_H

#include "tty/tty_images.h"

/* ---- dump ---- */

/* Another duplicate of a terminal's descriptor, to be closed. Negative errno (logged). */
int pty_duplicate(const struct terminal *t);

/* When all terminals are known: tells each master which of the slaves is its peer. */
int pty_find_pairs(struct dump *d);

/* ---- restore ---- */

/* Makes all pairs, under their old indices where these are free, with their settings and queues. Once. */
int pty_make(struct restore *r, struct pty *p);

/* Opens the slave of a pair that was made, with O_* flags. Negative errno (logged). */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags);

/* Opens a slave whose master is gone. */
int pty_open_hung_up(struct restore *r, const TtyFileEntry *m, const TtyInfoEntry *e);

/* Closes our own descriptors of a pair. */
void pty_close(struct pty *p);

#endif
