/* SPDX-License-Identifier: GPL-2.0-only */
/* A socket with a name on which criu listens. */
#ifndef CRIU_OPTIONS_SOCKET_FILE_H
#define CRIU_OPTIONS_SOCKET_FILE_H

#include <sys/stat.h>
#include <sys/un.h>

#include "options/options.h"

struct socket_spec {
	const char *name; /* with a / at its beginning, or in the work directory */
	const char *what; /* for errors: how the name was given */
	int type;         /* SOCK_STREAM or SOCK_SEQPACKET */
	mode_t mode;      /* who may connect */
};

struct socket_file {
	int dir; /* the work directory, where the name starts from it; else -1 */
	struct sockaddr_un addr;
	bool ours;
	struct stat file; /* what was made */
};

/*
 * Makes it, in the place of one that nobody listens on any more, and listens. 0 with *listener, or a negative errno
 * (logged). socket_file_remove() in any case.
 */
int socket_file_listen(const struct options *o, const struct socket_spec *spec, struct socket_file *f, int *listener);
void socket_file_remove(struct socket_file *f);

#endif
