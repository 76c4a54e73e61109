/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/tty/: the terminals of a restore. */
#ifndef CRIU_TTY_PTY_H
#define CRIU_TTY_PTY_H

#include "tree/kind.h"
#include "lib/arena_hash.h"
#include "regfile.pb-c.h"
#include "tty.pb-c.h"

/* Of info[], file[] and data[]. */
enum pty_side { PTY_SLAVE, PTY_MASTER };

/* A pseudo terminal. Images of CRIU tell pairs by the index alone. */
struct pty {
	struct {
		uint32_t number, by_pair;
	} key;
	uint32_t index; /* at dump */
	const TtyInfoEntry *info[2];
	const TtyFileEntry *file[2]; /* a description of that side that somebody wants */
	const TtyDataEntry *data[2];
	unsigned index_now;
	bool made;
	int master; /* ours until the end, -1 before it is made */
	int slave;  /* ours until the end: with the last one the kernel takes the terminal away from its session */
	UT_hash_handle hh;
};

struct tty_info {
	uint32_t id;
	const TtyInfoEntry *entry;
	struct pty *pty;          /* NULL where it is another kind of terminal, or was hung up */
	const TtyFileEntry *file; /* a description that leads to it */
	bool foreign;             /* a terminal from outside that is another session's here */
	bool set;                 /* a terminal from outside: its settings are the tree's */
	UT_hash_handle hh;
};

/* Whose terminal it is. */
struct tty_of_session {
	uint32_t sid;
	struct tty_info *info;
	UT_hash_handle hh;
};

struct tty_state {
	bool used;
	struct tty_info *infos;
	struct pty *ptys;
	struct tty_of_session *sessions;
	int own; /* the tool's own terminal, or -1 */
};

extern const struct fd_kind tty_kind;

/* The state of this restore; made at the first call. */
struct tty_state *tty_state_of(struct restore *r);

/* The terminal with that number in the images, or NULL. */
struct tty_info *tty_info_of(struct restore *r, uint32_t id);

/* The terminal of a session, or NULL. */
struct tty_info *tty_of_session(struct restore *r, uint32_t sid);

/* Its path in the images. */
const RegFileEntry *tty_path_of(struct restore *r, const TtyFileEntry *m);

static inline enum pty_side pty_side_of(const TtyInfoEntry *e)
{
	return e->rdev >> 8 == 5 ? PTY_MASTER : PTY_SLAVE;
}

/* Reads tty-info and tty-data. */
int tty_read_infos(struct restore *r);

/* Makes all pairs, under their old indices where these are free, with their settings and queues. Once. */
int pty_make(struct restore *r, struct pty *p);

/* Opens the slave of a pair that was made, with O_* flags. Negative errno (logged). */
int pty_open_slave(struct restore *r, struct pty *p, uint32_t flags);

/* A slave whose master is gone. */
int pty_open_hung_up(struct restore *r, const TtyFileEntry *m, const TtyInfoEntry *e);

/* ---- terminals that are there: the tool's own, external ones, devices (outside.c) ---- */

bool tty_external_is_mine(const struct tty_info *ti);
void tty_external_name(const TtyInfoEntry *e, char *buf, size_t size); /* for --inherit-fd */
int tty_external_check(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti, const char **why);
int tty_external_open(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti);
int tty_external_open_any(struct restore *r, const struct tty_info *ti); /* for reading and writing, whoever asks */
int tty_external_late(struct restore *r, struct tty_info *ti, int fd);

/* ---- /dev/tty (ctty.c) ---- */

/* Whether it leads to the terminal of whoever restores. */
bool ctty_is_job(const struct restore *r, const TtyInfoEntry *e);
int ctty_check(struct restore *r, const TtyInfoEntry *e, const char **why);
int ctty_prepare(struct restore *r);

#endif
