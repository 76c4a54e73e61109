/* SPDX-License-Identifier: GPL-2.0-only */
/* The unix sockets of a checkpoint during a restore: what the images say of each, and how far each has come. */
#ifndef CRIU_SOCK_UNIX_USK_H
#define CRIU_SOCK_UNIX_USK_H

#include <sys/socket.h>

#include "lib/arena_hash.h"
#include "sk-unix.pb-c.h"
#include "sock/unix/usk_state.h"
#include "tree/restore.h"

struct usk {
	/* What the images and the options say. */
	const UnixSkEntry *m;
	uint32_t ino;
	const char *text; /* "unix socket 17 (/run/x.sock)", for messages */
	const char *name; /* without the zero that ends a path; NULL: none */
	size_t name_len;
	uint32_t net_ns; /* the number of its network namespace; 0: criu's own */
	bool inherited;  /* --inherit-fd names it */
	struct usk *peer;

	/* How far it has come (usk_state.h). */
	enum usk_use use;
	enum usk_made made;
	enum usk_link link;
	enum usk_at at;
	enum usk_temp temp;
	enum { FRESH_UNKNOWN, FRESH_NO, FRESH_YES } fresh; /* whether its options are those of a new socket */
	bool has_options;                                  /* it has all its options and flags */
	bool filled; /* a datagram socket's receive queue is as it was; set by unix_dgram.c, once */
	int fd, temp_fd;

	/* What belongs to AT_SCRATCH, AT_HIDDEN and AT_FILE. */
	unsigned scratch;           /* the number of its folder in the scratch root */
	struct unix_hidden *hidden; /* the folder beside its place, and its file in there */
	const char *hidden_file;
	const char *dir, *base; /* its place */

	/* unix_group.c: what has to be made together. */
	unsigned order;                                     /* in files.img */
	struct usk *group;                                  /* leads to the first of its group */
	struct usk *next_member, *last_member, *next_group; /* the last two: of the first of a group */
	unsigned group_size;
	bool group_early, group_made;

	/* For the order of work. */
	struct usk *from;  /* the first in use whose peer it is */
	unsigned incoming; /* how many have it as their peer */
	unsigned before;   /* datagram sockets that are to be connected to it before it is connected itself */
	UT_hash_handle hh, hh_name;
};

struct unix_listener; /* unix_temp.c */
struct unix_hidden;   /* unix_bind.c */

struct unix_restore {
	struct arena *arena; /* NULL before the first use */
	struct usk *groups;
	/* The sockets that are being made; usk_each() goes through these alone while in_portions is set. */
	struct usk **portion;
	size_t n_portion;
	bool in_portions;
	struct usk *by_ino;
	struct usk *by_name;             /* bound ones */
	struct unix_listener *listeners; /* temporary ones */
	struct unix_hidden *hidden;      /* the one that was made last in a portion */
	int scratch;                     /* its root, or -1 */
	unsigned n_folders;              /* how many were made for names */
	unsigned waited;                 /* for names that are taken */
	struct sock_fresh *fresh;        /* options of new sockets, by type */
};

struct unix_restore *usk_all(struct restore *r);

/* A row's read_images(): fills the table. */
int usk_read_images(struct restore *r);

/* A socket by its inode; NULL where the checkpoint has none such. */
struct usk *usk_find(struct unix_restore *all, uint32_t ino);
/* By type and name, among those that are bound, an abstract one in that network namespace; NULL: none. */
struct usk *usk_find_name(struct unix_restore *all, uint32_t net_ns, uint32_t type, const void *name, size_t len);

/*
 * Calls fn for all that are in use (of the portion that is being made), each time in the socket's network namespace,
 * until one returns an error; then only for those of them that criu itself has made.
 */
int usk_each(struct restore *r, int (*fn)(struct restore *r, struct usk *u));
int usk_each_made(struct restore *r, int (*fn)(struct restore *r, struct usk *u));

static inline bool usk_is_path(const struct usk *u)
{
	return u->name && u->name[0];
}

static inline bool usk_is_dgram(const struct usk *u)
{
	return u->m->type == SOCK_DGRAM;
}

#endif
