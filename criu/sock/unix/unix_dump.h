/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of dumping unix sockets share. */
#ifndef CRIU_SOCK_UNIX_UNIX_DUMP_H
#define CRIU_SOCK_UNIX_UNIX_DUMP_H

#include "files/files.h"
#include "lib/arena_hash.h"
#include "sk-unix.pb-c.h"
#include "sock/diag.h"
#include "sock/unix/embryo_look.h"

/* A socket of the tree. */
struct unix_seen {
	uint32_t ino;
	UnixSkEntry *m;
	const struct diag_unix *diag;
	struct task *task;
	int number;      /* of a descriptor of the task; -1: it is in flight */
	const char *who; /* "pid 812 (redis): fd 7", for messages */
	bool has_peer;   /* getpeername(2) says so, also of one that is gone */
	ProtobufCBinaryData peername;
	int unread;                 /* SIOCOUTQ: memory of what it has sent and its peer has not read */
	bool external;              /* --external socket:[ino]: --inherit-fd gives it at restore */
	struct unix_seen *listener; /* in whose queue it waits to be accepted */
	struct {
		struct embryo *list; /* those that wait in its queue */
		size_t n;
		const char *why; /* not NULL: they cannot be looked at */
	} embryos;
	UT_hash_handle hh;
};

struct unix_dump {
	struct unix_seen *by_ino;
	/* The way to look at embryos, made when the first listener needs it. */
	struct embryo_look *look;
	const char *no_look; /* why it cannot be made */
};

/* The table of a dump. */
struct unix_dump *unix_dump_table(struct dump *d);

/* The row's functions. unix_dump.c: one socket; unix_collect.c: all, when all are known. */
int unix_dump(struct dump *d, const struct fd_info *info, void *msg);
int unix_collect(struct dump *d);

/* Which processes outside have sockets with these inodes, by one walk through /proc. */
struct unix_holder {
	uint32_t ino;
	const char *who; /* "pid 812 (redis)", or NULL: none found. From the arena */
	UT_hash_handle hh;
};
void unix_holders_find(struct dump *d, struct unix_holder *table);

#endif
