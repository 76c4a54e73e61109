/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals of a container: the slaves are in the tree, the master was outside, with what shows the container's output.
 * Where a client of the service asks for that (opts.orphan_pts_master), each gets a new master at restore, in the
 * container's own devpts, and the client is handed that: the message orphan-pts-master with one descriptor, sent by the
 * root task, so that a client sees a process of the container as the sender.
 */
#ifndef CRIU_TTY_ORPHAN_PTS_H
#define CRIU_TTY_ORPHAN_PTS_H

#include "tty/tty_images.h"

/* When the images are read: pseudo terminals without a master in the tree are made as if they had one. */
void orphan_pts_adopt(struct restore *r);

#endif
