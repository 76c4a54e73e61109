/* SPDX-License-Identifier: GPL-2.0-only */
/* The owner of a file, which gets its SIGIO (fcntl(2): F_SETOWN_EX, F_SETSIG, O_ASYNC): the same for all kinds. */
#ifndef CRIU_FILES_FOWN_H
#define CRIU_FILES_FOWN_H

#include "tree/kind.h"

/* Fills info->fown, from the arena. All zero where there is no owner. */
int fown_dump(struct dump *d, struct fd_info *info);

/* Whether there is anything for fown_restore() to do. */
bool fown_is_set(const FownEntry *fown, uint32_t flags);

/* Sets owner, signal and O_ASYNC on our descriptor, when all tasks exist. flags: of the description. */
int fown_restore(struct restore *r, int fd, const FownEntry *fown, uint32_t flags);

#endif
