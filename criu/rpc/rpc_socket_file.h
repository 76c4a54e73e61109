/* SPDX-License-Identifier: GPL-2.0-only */
/* The socket on which criu service listens, by its name (--address). Who may reach its directory may connect. */
#ifndef CRIU_RPC_RPC_SOCKET_FILE_H
#define CRIU_RPC_RPC_SOCKET_FILE_H

#include <sys/stat.h>
#include <sys/un.h>

#include "options/options.h"

struct socket_file {
	int dir; /* the work directory, where the name starts from it; else -1 */
	struct sockaddr_un addr;
	bool ours;
	struct stat file; /* what was made */
};

/*
 * Makes it with the mode 0666, in the place of one that nobody listens on any more, and listens. 0 with *listener, or a
 * negative errno (logged). rpc_socket_file_remove() in any case.
 */
int rpc_socket_file_listen(const struct options *o, struct socket_file *f, int *listener);
void rpc_socket_file_remove(struct socket_file *f);

#endif
