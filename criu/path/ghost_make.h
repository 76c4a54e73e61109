/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of core/ghost_*.c: one ghost of a restore, and making it. */
#ifndef CRIU_PATH_GHOST_MAKE_H
#define CRIU_PATH_GHOST_MAKE_H

#include "path/ghost.h"
#include "lib/arena_hash.h"
#include "ghost-file.pb-c.h"

struct ghost {
	uint32_t id;
	GhostFileEntry *entry;    /* NULL for a link */
	const RegFileEntry *link; /* not deleted, but to be found by this name alone (--link-remap); else NULL */
	const char *name;         /* as it was, without " (deleted)" */
	int base;        /* O_PATH: keeps it there, stands in the way of no execve() or lease; -1: not made yet */
	bool base_given; /* to the first who wanted a symbolic link */
	bool has_maker;  /* a file that was opened with O_TMPFILE and made the ghost: it gets `first` */
	uint32_t maker, maker_flags;
	int first;
	UT_hash_handle hh;
};

/* Makes it, with all that is in it: base, and first where there is a maker. list: all ghosts. 0 or a negative errno
 * (logged). */
int ghost_make(struct restore *r, struct ghost *g, struct ghost *list);

/*
 * What it is but for its contents, by its descriptor or one of O_PATH: owner, mode, attributes, times. For
 * ghost_nodes.c and ghost_dirs.c, as the next.
 */
int ghost_set_attributes(const struct ghost *g, int fd);

/*
 * Opens it as O_PATH by its old name, which it has for an instant if that is free, so that /proc goes on to show it.
 * -ENOENT (not logged): it is not free, or cannot be had.
 */
int ghost_open_by_name(struct restore *r, const struct ghost *g, int fd);

/* A FIFO, device or symbolic link: base. 0 or a negative errno (logged). */
int ghost_make_node(struct restore *r, struct ghost *g);

/* A directory, with all others that are wanted: their bases. list: all ghosts. 0 or a negative errno (logged). */
int ghost_make_dirs(struct restore *r, struct ghost *list);

/* The directory in which it is made. */
const char *ghost_dir(struct restore *r, const struct ghost *g);

#endif
