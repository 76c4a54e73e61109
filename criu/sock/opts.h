/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Socket options that all families have (sk_opts_entry), and tables of options of one family: one row an option, used
 * in both directions. An option that the kernel cannot read (EOPNOTSUPP, ENOPROTOOPT) is absent, not an error.
 */
#ifndef CRIU_SOCK_OPTS_H
#define CRIU_SOCK_OPTS_H

#include "tree/kind.h"
#include "sk-opts.pb-c.h"

/* The family of a socket, AF_*; a negative errno: not a socket, or only the path of one. */
int sock_domain(const struct fd_info *info);

/*
 * Reads all of SOL_SOCKET, the classic filter included; an eBPF one is refused by name (DUMP_REFUSED). *optsp is from
 * the arena. Any thread may call this.
 */
int sock_opts_dump(struct arena *a, const struct fd_info *info, SkOptsEntry **optsp);

/*
 * Another socket's options are those of this one, but for what the kernel changes by itself: *optsp becomes a copy of
 * them, in which that is asked. And what there is to say of a socket with such options.
 */
int sock_opts_dump_moving(struct arena *a, const struct fd_info *info, SkOptsEntry **optsp);
void sock_opts_warn(const struct fd_info *info, const SkOptsEntry *o);

/*
 * What a new socket has, asked once for all of a family, type and protocol in a network namespace (where the caller
 * is). An option that is to be the same needs no call for a socket of which nothing but options was set. Never NULL.
 */
struct sock_new;
struct sock_new *sock_new_of(struct restore *r, uint32_t net_ns, int family, int type, int protocol);

/*
 * Sets them. new: as above; NULL: the socket is asked what it has. Buffer sizes without doubling, above the sysctl
 * limits where privilege allows (SO_*BUFFORCE), with a warning where it does not. In two parts: what has to be set
 * before bind() (SO_REUSEADDR and the like, the device, the mark), and the rest (timeouts, filters, SO_PASSCRED, locked
 * filters last).
 */
int sock_opts_before_bind(struct restore *r, int fd, const SkOptsEntry *opts, struct sock_new *new, const char *who);
int sock_opts_restore(struct restore *r, int fd, const SkOptsEntry *opts, struct sock_new *new, const char *who);

/* Of the first part, the sizes of buffers (asked) and their lock: again, after a queue had to be filled. */
int sock_opts_buffers(int fd, const SkOptsEntry *opts, struct sock_new *new, const char *who);

/*
 * Whether options are those that a new socket has, so that they need no call. *all is NULL at first: what new sockets
 * of each family and type have, asked once, in the arena.
 */
struct sock_fresh;
bool sock_fresh_has(struct restore *r, struct sock_fresh **all, int domain, int type, const SkOptsEntry *o);

/* How many bytes of messages wait to be read, as the kernel accounts for them (SO_MEMINFO). */
uint32_t sock_queued(int fd);

/* One row of a table: an option that is a number of 1, 4 or 8 bytes, and a field of a message (bool, a number). */
struct sock_opt {
	int level, name;
	const char *text;  /* "IP_TTL" */
	const char *field; /* in the message; its has_ flag says whether the option is present */
	bool late;         /* set after connect(), not before bind() */
	uint8_t bytes;     /* 1 or 8; 0 means an int */
	bool hint;         /* where it cannot be set, a warning is enough */
	bool moving;       /* another option, or the kernel by itself, changes it: each socket is asked */
	int64_t absent; /* the value that is not written, since it is what a new socket has; SOCK_OPT_ALWAYS: any is */
};

#define SOCK_OPT_ALWAYS INT64_MIN

/* Reads and sets all rows of a table (text NULL ends it). An option that the kernel does not have is left out. */
int sock_opt_table_dump(const struct fd_info *info, const struct sock_opt *table, void *msg);
/* What it has now: 1 and *v; 0: it does not have the option; or a negative errno. */
int sock_opt_now(struct sock_new *new, const struct sock_opt *table, const struct sock_opt *row, int fd, int64_t *v);
int sock_opt_table_restore(struct sock_new *new, int fd, const struct sock_opt *table, const void *msg, bool late,
                           const char *who);

#endif
