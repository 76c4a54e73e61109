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
	bool inherited; /* --inherit-fd names it */
	struct usk *peer;

	/* How far it has come (usk_state.h). */
	enum usk_use use;
	enum usk_made made;
	enum usk_link link;
	enum usk_at at;
	enum usk_temp temp;
	bool filled; /* a datagram socket's receive queue is as it was; set by unix_dgram.c, once */
	int fd, temp_fd;

	/* What belongs to AT_SCRATCH, AT_HIDDEN and AT_FILE. */
	unsigned scratch;       /* the number of its folder in the scratch root */
	const char *hidden;     /* the folder beside its place */
	const char *dir, *base; /* its place */
	int undo;               /* of `hidden` */

	/* For the order of work. */
	struct usk *from;  /* the first in use whose peer it is */
	unsigned incoming; /* how many have it as their peer */
	unsigned before;   /* datagram sockets that are to be connected to it before it is connected itself */
	UT_hash_handle hh, hh_name;
};

struct unix_listener; /* unix_pair.c */

struct unix_restore {
	bool used;
	struct usk *by_ino;
	struct usk *by_name;             /* bound ones */
	struct unix_listener *listeners; /* temporary ones */
	int scratch;                     /* its root, or -1 */
	unsigned n_folders;              /* how many were made for names */
	unsigned waited;                 /* for names that are taken */
	bool settled;
};

struct unix_restore *usk_all(struct restore *r);

/* A row's read_images(): fills the table. */
int usk_read_images(struct restore *r);

/* A socket by its inode; NULL where the checkpoint has none such. */
struct usk *usk_find(struct unix_restore *all, uint32_t ino);
/* By type and name, among those that are bound; NULL: none. */
struct usk *usk_find_name(struct unix_restore *all, uint32_t type, const void *name, size_t len);

/* Calls fn for all that are in use, until one returns an error; then only for those of them that criu itself has made.
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
