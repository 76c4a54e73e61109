/* SPDX-License-Identifier: GPL-2.0-only */
/* Controlling terminals: what a restore does for session leaders beside their descriptors. */
#ifndef CRIU_TTY_TTY_H
#define CRIU_TTY_TTY_H

#include "tree/restore.h"

/*
 * Right after a session leader has made its session, before it has children in it (they inherit the terminal; later on
 * the kernel lets nobody but the leader have it): makes the session's pseudo terminal, if its master is in the tree,
 * and has the leader take it (TIOCSCTTY, ioctl_tty(2)). Nothing happens where there is none. 0 or a negative errno
 * (logged).
 */
int tty_take_terminal(struct restore *r, struct task *leader);

/*
 * For the same task when all tasks have their descriptors and process groups, before files_post_open(): puts the
 * process group that was the foreground one there again.
 */
int tty_restore_sessions(struct restore *r, struct task *leader);

#endif
