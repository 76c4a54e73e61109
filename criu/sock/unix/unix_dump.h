/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of dumping unix sockets share: unix_dump.c (one socket), unix_name.c, unix_collect.c (all of them). */
#ifndef CRIU_SOCK_UNIX_UNIX_DUMP_H
#define CRIU_SOCK_UNIX_UNIX_DUMP_H

#include "files/files.h"
#include "lib/arena_hash.h"
#include "sk-unix.pb-c.h"
#include "sock/diag.h"

/* A socket of the tree. */
struct unix_seen {
	uint32_t ino;
	UnixSkEntry *m;
	const struct diag_unix *diag;
	struct task *task;
	const char *who; /* "pid 812 (redis): fd 7", for messages */
	bool has_peer;   /* getpeername(2) says so, also of one that is gone */
	ProtobufCBinaryData peername;
	int unread;                 /* SIOCOUTQ: what it has sent and nobody has read, with the kernel's own */
	bool handed;                /* named by --external socket:[ino]: comes from outside at restore */
	struct unix_seen *listener; /* it waits in whose queue */
	UT_hash_handle hh;
};

struct unix_pid {
	pid_t pid;
	vpid_t vpid;
	UT_hash_handle hh;
};

struct unix_dump {
	struct unix_seen *by_ino;
	struct unix_pid *pids; /* of the tree's tasks */
};

/* The table of a dump. */
struct unix_dump *unix_dump_of(struct dump *d);

/* The rows' functions. */
int unix_dump(struct dump *d, const struct fd_info *info, void *msg);
int unix_collected(struct dump *d);

/*
 * Name, name_dir, file_dir, file_base, file_perms and deleted: whether and where the file to which the socket (a
 * duplicate of it: sock) is bound can be found, by its name or by another. 0 or a negative errno (logged).
 */
int unix_name_dump(struct dump *d, struct unix_seen *u, int sock);

/* "/run/x.sock" or "@abstract", with what does not print as dots, for messages. From the arena. */
const char *unix_name_text(struct arena *a, const void *name, size_t len);

/* Who outside has sockets with these inodes, by one walk through /proc: "pid 812 (redis)", or NULL. From the arena. */
struct unix_holder {
	uint32_t ino;
	const char *who;
	UT_hash_handle hh;
};
void unix_holders_find(struct dump *d, struct unix_holder *table);

#endif
