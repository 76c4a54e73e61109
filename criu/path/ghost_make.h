/* SPDX-License-Identifier: GPL-2.0-only */
/* Private to ghost_*.c: one ghost of a restore, and making it again. */
#ifndef CRIU_PATH_GHOST_MAKE_H
#define CRIU_PATH_GHOST_MAKE_H

#include <sys/stat.h>

#include "path/ghost.h"
#include "lib/arena_hash.h"
#include "ghost-file.pb-c.h"

struct ghost {
	uint32_t id;
	GhostFileEntry *entry;    /* NULL for a link */
	const RegFileEntry *link; /* not deleted, but found by this name alone (--link-remap); else NULL */
	const char *name;         /* as it was, without " (deleted)" */
	int base;        /* keeps it alive; O_PATH, so that it hinders no execve() or lease; -1: not made yet */
	bool base_taken; /* by the first file that is this symbolic link */
	bool has_maker;  /* a file that was opened with O_TMPFILE and made the ghost: it gets `first` */
	uint32_t maker, maker_flags;
	struct stat *used_link; /* of the link, where CRIU made it: it is removed in the end */
	int first;
	UT_hash_handle hh;
};

/* Makes it, with its contents: base, and first where there is a maker. list: all ghosts. 0 or a negative errno
 * (logged). */
int ghost_make(struct restore *r, struct ghost *g, struct ghost *list);

/* ghost_name.c: the nearest directory on the way to its old name that exists. */
const char *ghost_dir(struct restore *r, const struct ghost *g);

/*
 * ghost_name.c: opens it as O_PATH by its old name, which it has for an instant if that is free, so that /proc goes on
 * to show it. -ENOENT (not logged): the name is not free, or not possible.
 */
int ghost_open_by_name(struct restore *r, const struct ghost *g, int fd);

/*
 * ghost_link.c: a link that CRIU made (not one of ours, which stays until the checkpoint is deleted) is noted while
 * base is open, so that the guardian removes it if criu is killed after the commit; and removed after it.
 */
int ghost_link_note(struct restore *r, struct ghost *g);
void ghost_link_remove(const struct ghost *g);

/* ghost_nodes.c: a FIFO, device or symbolic link: base. 0 or a negative errno (logged). */
int ghost_make_node(struct restore *r, struct ghost *g);

/* A directory, with all others that are wanted: their bases. list: all ghosts. 0 or a negative errno (logged). */
int ghost_make_dirs(struct restore *r, struct ghost *list);

#endif
