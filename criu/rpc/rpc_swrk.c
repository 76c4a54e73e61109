/* SPDX-License-Identifier: GPL-2.0-only */
/* criu swrk FD: a client has started criu, and speaks to it over an inherited socket. */
#include <fcntl.h>

#include "cmd/cmd.h"
#include "lib/log.h"
#include "rpc/rpc.h"

/* Off standard input, output and error, if it is there, and not for programs that criu runs. */
static int move_socket(int fd)
{
	int sock = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (sock < 0)
		return log_errno(-errno, "descriptor %d, which is to be a socket: fcntl(F_DUPFD_CLOEXEC)", fd);
	if (fd > STDERR_FILENO) {
		close(fd);
	} else {
		_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null < 0 || dup2(null, fd) < 0)
			log_warn("open of /dev/null, or dup2: %m");
	}
	return sock;
}

int rpc_swrk(const struct options *o, struct stages *stages)
{
	struct client c = { .caller = o };
	socklen_t len = sizeof(c.peer);
	_cleanup_close_ int sock = move_socket(o->client_socket);

	if (sock < 0)
		return sock;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &c.peer, &len))
		return log_errno(-errno, "descriptor %d is no unix socket: getsockopt(SO_PEERCRED)", o->client_socket);
	c.sock = sock;
	return rpc_serve(&c);
}
