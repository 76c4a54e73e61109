/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of core/ghost_*.c: one ghost of a restore, and making it. */
#ifndef CRIU_CORE_GHOST_MAKE_H
#define CRIU_CORE_GHOST_MAKE_H

#include "core/ghost.h"
#include "core/table.h"
#include "ghost-file.pb-c.h"

struct ghost {
	uint32_t id;
	GhostFileEntry *entry;
	const char *name; /* as it was, without " (deleted)" */
	int base;         /* O_PATH: keeps it there, stands in the way of no execve() or lease; -1: not made yet */
	bool has_maker;   /* a file that was opened with O_TMPFILE and made the ghost: it gets `first` */
	uint32_t maker, maker_flags;
	int first;
	UT_hash_handle hh;
};

/* Makes it, with all that is in it: base, and first where there is a maker. 0 or a negative errno (logged). */
int ghost_make(struct restore *r, struct ghost *g);

/* The directory in which it is made. */
const char *ghost_dir(struct restore *r, const struct ghost *g);

#endif
