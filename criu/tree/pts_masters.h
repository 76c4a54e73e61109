/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Restore: masters of pseudo terminals that were opened before their terminals are restored, because a mount shows the
 * slave (the /dev/console of a container, bound from /dev/pts/0), and that exists as long as its master is open.
 */
#ifndef CRIU_TREE_PTS_MASTERS_H
#define CRIU_TREE_PTS_MASTERS_H

#include "tree/restore.h"

/* dev: of the devpts, as stat(2) showed it at the dump (32 bits of it). fd is closed at the end unless it is taken. */
void pts_masters_note(struct restore *r, uint32_t dev, unsigned index, int fd);

/* The caller's from here on; -ENOENT: there is none. */
int pts_masters_take(struct restore *r, uint32_t dev, unsigned index);

#endif
