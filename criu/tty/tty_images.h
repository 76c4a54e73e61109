/* SPDX-License-Identifier: GPL-2.0-only */
/* The terminals of a dump or a restore, as tty-info.img and tty-data.img have them. Inside of criu/tty/. */
#ifndef CRIU_TTY_TTY_IMAGES_H
#define CRIU_TTY_TTY_IMAGES_H

#include "tree/kind.h"
#include "lib/arena_hash.h"
#include "regfile.pb-c.h"
#include "tty.pb-c.h"

/* ---- dump ---- */

/* One end of a pseudo terminal, another terminal, or /dev/tty: one message of tty-info.img. */
struct terminal {
	struct {
		uint64_t dev, rdev;
	} key; /* of slaves and devices, which are the same terminal however often they are opened */
	TtyInfoEntry *entry;
	bool master, device;
	unsigned index;              /* of a pseudo terminal */
	struct terminal *peer;       /* the other end, if it is in the tree */
	struct terminal *same_index; /* slaves with that index, in other devpts */
	struct task *task;
	int number, held;       /* its descriptor, or one of ours where no task has one */
	const char *who, *link; /* for messages */
	TtyDataEntry *data;
	UT_hash_handle hh;
	UT_hash_handle by_index;
};

struct tty_dump {
	struct terminal **all;
	size_t n;
	struct terminal *by_key, *slaves; /* slaves: by index */
	uint32_t last_pair;
};

/* The state of this dump. */
struct tty_dump *tty_dump_of(struct dump *d);

/* Writes both images. */
int tty_images_write(struct dump *d);

/* ---- restore ---- */

/* Of info[], file[] and data[]. */
enum pty_side { PTY_SLAVE, PTY_MASTER };

/* A pseudo terminal. Images of CRIU tell pairs by the index alone. */
struct pty {
	struct {
		uint32_t number, by_pair;
	} key;
	uint32_t index; /* at dump */
	const TtyInfoEntry *info[2];
	const TtyFileEntry *file[2]; /* an open file of that side, or NULL */
	const TtyDataEntry *data[2];
	const RegFileEntry *ptmx; /* of an orphan: where its master is opened */
	bool orphan;              /* its master is not in the tree, and is for the client (tty/orphan_pts.h) */
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
	const TtyFileEntry *file; /* an open file that leads to it */
	bool foreign;             /* a terminal from outside that is another session's here */
	bool set;                 /* a terminal from outside: its settings are the tree's, or will be */
	int job_fd;               /* that of a job, which gets them last; -1: none */
	UT_hash_handle hh;
};

/* The controlling terminal of a session. */
struct session_terminal {
	uint32_t sid;
	struct tty_info *info;
	UT_hash_handle hh;
};

struct tty_restore {
	bool used;
	struct tty_info *infos;
	struct pty *ptys;
	struct session_terminal *sessions;
	int own; /* the terminal in which criu runs, or -1 */
};

/* The state of this restore. */
struct tty_restore *tty_restore_of(struct restore *r);

/* Reads both images. */
int tty_images_read(struct restore *r);

/* The terminal with that number in the images, or NULL. */
struct tty_info *tty_info_of(struct restore *r, uint32_t id);

/* The controlling terminal of a session, or NULL. */
struct tty_info *tty_of_session(struct restore *r, uint32_t sid);

/* The path in the images of an open file of a terminal. */
const RegFileEntry *tty_path_of(struct restore *r, const TtyFileEntry *m);

static inline enum pty_side pty_side_of(const TtyInfoEntry *e)
{
	return e->rdev >> 8 == 5 ? PTY_MASTER : PTY_SLAVE;
}

#endif
