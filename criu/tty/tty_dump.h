/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of criu/tty/: terminals at dump. */
#ifndef CRIU_TTY_TTY_DUMP_H
#define CRIU_TTY_TTY_DUMP_H

#include "tree/kind.h"
#include "lib/arena_hash.h"
#include "tty.pb-c.h"

/* One end of a terminal, or a descriptor that leads to one, as the images will have it. */
struct term {
	struct {
		uint64_t dev, rdev;
	} key; /* of slaves and devices, which are the same for everybody who opens them */
	TtyInfoEntry *entry;
	bool master, device;
	unsigned index;          /* of a pseudo terminal */
	struct term *peer;       /* the other end, if it is in the tree */
	struct term *same_index; /* slaves with that index, in other devpts */
	struct task *task;
	int number, held;       /* its descriptor, or one of ours where no task has it */
	const char *who, *link; /* for messages */
	TtyDataEntry *data;
	UT_hash_handle hh;
	UT_hash_handle by_index;
};

/* Whose controlling terminal a device is. */
struct tty_session {
	uint32_t dev;
	uint32_t sid, pgrp;
	UT_hash_handle hh;
};

struct tty_dump {
	struct term **all;
	size_t n;
	struct term *by_key, *slaves; /* slaves: by index */
	struct tty_session *sessions;
	bool sessions_read;
	uint32_t last_pair;
};

extern const struct fd_kind tty_kind;

/* The functions of the row; see fd_kind. */
bool tty_match(const struct fd_info *info);
int tty_dump(struct dump *d, const struct fd_info *info, void *msg);
int tty_collected(struct dump *d);

/* The session whose terminal a device is (as in /proc/PID/stat), *sp is NULL where there is none. */
int tty_session_of(struct dump *d, struct tty_dump *td, uint32_t dev, const struct tty_session **sp);

/* Another duplicate of a terminal's descriptor, to be closed. Negative errno (logged). */
int tty_open_peer(const struct term *t);

/* Reads the queues of all pairs and puts them back: fills data, and what of entry is known with them. */
int tty_dump_queues(struct dump *d, struct tty_dump *td);

#endif
