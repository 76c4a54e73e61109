/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Options of many sockets without asking for each: where the kernel's memory can be read (lib/kernel_view.h), a socket
 * that is the same there as one that was asked, but for what no option is kept in, has the same options.
 */
#ifndef CRIU_SOCK_OPTS_VIEW_H
#define CRIU_SOCK_OPTS_VIEW_H

#include "tree/kind.h"
#include "sk-opts.pb-c.h"

/*
 * A kind of socket, as the kernel has it: its struct, and members in which no option is kept, or one that is asked of
 * every socket. Members that are not named are compared, known or not, so that nothing is overlooked that a later
 * kernel keeps elsewhere.
 */
struct opts_members {
	const char *type;         /* of the kernel, with which the socket's struct begins, */
	const char *within, *at;  /* or which is a member of that struct */
	const char *const *names; /* a NULL ends them */
};

struct opts_layout {
	const char *type, *type_v6;         /* the struct of a socket, and of one of AF_INET6 (NULL: the same) */
	const struct opts_members *members; /* a row without a type ends them */
};

/* Of struct sock, for all kinds: which socket it is, whose, and what happens to it. */
extern const char *const opts_view_not_options[];

struct opts_view;

/* NULL: not here (logged for who debugs). To be closed. */
struct opts_view *opts_view_open(const struct opts_layout *layout);
void opts_view_close(struct opts_view *v);

/*
 * What is kept of a socket with the same bytes: a message whose options are those of the socket, or NULL. *look is to
 * be given to opts_view_keep() then, with the options when they have been asked: a copy is kept. Any thread may call
 * them.
 */
#define OPTS_LOOK_MAX 4096

struct opts_look {
	uint8_t bytes[OPTS_LOOK_MAX];
	size_t len; /* 0: nothing could be seen */
};

const ProtobufCMessage *opts_view_find(struct opts_view *v, int fd, bool v6, struct opts_look *look);
void opts_view_keep(struct opts_view *v, const struct opts_look *look, const ProtobufCMessage *m);

/*
 * As sock_opts_dump(), for sockets all of whose options are kept in struct sock; what *optsp points to may belong to
 * several sockets. For the main thread.
 */
int sock_opts_view_dump(struct dump *d, const struct fd_info *info, SkOptsEntry **optsp);

#endif
