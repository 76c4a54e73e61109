/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/tty/: the pseudo terminals of a restore. */
#ifndef CRIU_TTY_PTY_H
#define CRIU_TTY_PTY_H

#include "core/kind.h"
#include "core/table.h"
#include "tty.pb-c.h"

/* Of info[] and file[]. */
enum pty_side { PTY_SLAVE, PTY_MASTER };

struct pty {
	uint32_t index; /* at dump */
	const TtyInfoEntry *info[2];
	const TtyFileEntry *file[2]; /* a description of that side that some descriptor table wants */
	unsigned index_now;
	int master;       /* ours until the end, -1 before it is made */
	int slave;        /* kept open for a session: with the last one the kernel takes the terminal away from it */
	bool handed_over; /* a terminal of the tool's: settings and foreground group are the tree's */
	UT_hash_handle hh;
};

struct tty_info {
	uint32_t id;
	const TtyInfoEntry *entry;
	struct pty *pty; /* NULL where it is another kind of terminal */
	UT_hash_handle hh;
};

struct tty_state {
	struct tty_info *infos;
	struct pty *ptys;
	int own; /* the tool's own terminal, or -1 */
};

extern const struct fd_kind tty_kind;

/* The state of this restore; made at the first call. */
struct tty_state *tty_state_of(struct restore *r);

static inline enum pty_side pty_side_of(const TtyInfoEntry *e)
{
	return e->rdev >> 8 == 5 ? PTY_MASTER : PTY_SLAVE;
}

/* Reads tty-info. */
int pty_read_infos(struct restore *r);

/* Makes the pair, under its old index where that is free, with its settings. Once. */
int pty_make(struct restore *r, struct pty *p);

/* Opens the slave of a pair that was made, with O_* flags. Negative errno (logged). */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags);

#endif
