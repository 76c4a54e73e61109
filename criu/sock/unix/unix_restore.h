/* SPDX-License-Identifier: GPL-2.0-only */
/* What the files of restoring unix sockets share; unix.c says what each of them does. */
#ifndef CRIU_SOCK_UNIX_UNIX_RESTORE_H
#define CRIU_SOCK_UNIX_UNIX_RESTORE_H

#include <sys/socket.h>

#include "agent/impersonate.h"
#include "files/files.h"
#include "lib/arena_hash.h"
#include "sk-unix.pb-c.h"
#include "sock/unix/chroot_helper.h"

/* Where a bound socket can be connected to. */
enum unix_at {
	AT_NOWHERE, /* it has no name, or one that it was given by its listener */
	AT_NAME,    /* abstract */
	AT_SCRATCH, /* a file in a root of our own */
	AT_HIDDEN,  /* a file in a folder of ours beside its place, until all is ready */
	AT_FILE,    /* in its place */
};

struct usk {
	const UnixSkEntry *m;
	uint32_t ino;
	const char *text; /* "unix socket 17 (/run/x.sock)", for messages */
	const char *name; /* without the zero that ends a path; NULL: none */
	size_t name_len;
	bool wanted;       /* somebody has it */
	bool tabled;       /* ... in a descriptor table */
	bool made, handed; /* handed: by --inherit-fd */
	bool accepted;     /* its name is its listener's */
	bool born;         /* a datagram socket that was made by socketpair(2): connected to its other half */
	bool connected;    /* to whom it is to be */
	bool listens;      /* clients can connect */
	bool filled;       /* its queue is as it was */
	int fd, temp;      /* temp: its other end, made by us, that will be gone */
	bool temp_named;
	struct usk *peer;
	struct usk *from; /* the first that somebody has of those connected to it */
	enum unix_at at;
	unsigned scratch;       /* AT_SCRATCH: the number of its folder */
	const char *hidden;     /* AT_HIDDEN: our folder */
	const char *dir, *base; /* of the file */
	int undo;               /* of `hidden` */
	unsigned incoming;      /* datagram sockets that are to be connected to it */
	UT_hash_handle hh, hh_name;
};

struct unix_listener; /* unix_pair.c */

struct unix_restore {
	bool used;
	struct usk *by_ino;
	struct usk *by_name;             /* bound ones */
	struct unix_listener *listeners; /* temporary ones */
	int scratch;                     /* its root, or -1 */
	unsigned n_scratch;
	unsigned waited; /* for names that are taken */
	bool late_done;
};

struct unix_restore *unix_restore_of(struct restore *r);

/* Whether to try a name again after err, -EADDRINUSE; then it has waited 10 ms, a second at most in all. */
bool unix_free_soon(struct restore *r, int err);

/* The rows' functions. */
int unix_read_images(struct restore *r);
int unix_check(struct restore *r, const void *msg, const char **why);
int unix_prepare(struct restore *r);
int unix_open(struct restore *r, const void *msg);
int unix_late(struct restore *r, const void *msg, int fd);

struct usk *usk_find(struct unix_restore *all, uint32_t ino);
/* By type and name, among those that are bound; NULL: none. */
struct usk *usk_named(struct unix_restore *all, uint32_t type, const void *name, size_t len);

static inline bool usk_is_path(const struct usk *u)
{
	return u->name && u->name[0];
}

/* ---- unix_bind.c ---- */

/* Binds fd to a path in the scratch root, under a number of its own; *number is its folder. */
int unix_bind_scratch(struct unix_restore *all, int fd, const char *name, size_t len, unsigned *number);

/* Gives a socket of ours that will be gone the name that it had; one that is taken by now is a warning. */
int unix_name_temp(struct restore *r, int fd, const char *name, size_t len, const char *text);

/* Binds sockets as their entries say; u->at says how each can be reached. Errors are logged. */
int unix_bind_all(struct restore *r, struct usk **sockets, size_t n);

/* Puts a hidden socket file in its place. */
int unix_publish(struct restore *r, struct usk *u);

/* Connects fd to a socket that is bound. Not for what is stamped. */
int unix_connect_to(struct unix_restore *all, int fd, const struct usk *to);

/* The address for impersonate_connect(): *dir is -1, or a descriptor that the caller closes when *own is set. */
int unix_reach(struct unix_restore *all, const struct usk *to, struct sockaddr_un *a, socklen_t *len, int *dir,
               bool *own);

/* The folder and last part of the file's path; false where it cannot be told (a relative name without a folder). */
bool unix_place(struct arena *a, const UnixSkEntry *m, const char *name, const char **dir, const char **base);

/* Whether some living socket has that file; a negative errno when it cannot be looked at. -ENOENT: no file. */
int unix_taken(int dir, const char *base);

/* ---- unix_pair.c ---- */
/* Who stamped this end. */
struct identity unix_as(const UnixSkEntry *m);

/* Connected stream and seqpacket sockets: both ends, or one whose peer is gone (its other end is u->temp then). */
int unix_make_connected(struct restore *r, struct usk *u);

void unix_close_listeners(struct unix_restore *all);

#endif
