/* SPDX-License-Identifier: GPL-2.0-only */
/* Which directions of a socket are shut down. */
#include <poll.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"

int inet_shutdown_dump(const struct fd_info *info, InetSkEntry *m, const struct diag_inet *s)
{
	struct pollfd p = { .fd = info->fd, .events = POLLRDHUP };
	unsigned how = s ? s->shutdown : 0;

	if (!s && poll(&p, 1, 0) > 0) {
		if (p.revents & POLLRDHUP)
			how = SK_SHUTDOWN__READ;
		/* poll() reports both for every TCP socket without a connection. */
		if (p.revents & POLLRDHUP && p.revents & POLLHUP)
			how = SK_SHUTDOWN__BOTH;
	}
	if (how > SK_SHUTDOWN__BOTH)
		return log_errno(-EBADMSG, "%s: shut down in an unknown way: %u", fd_name(info), how);
	m->has_shutdown = how;
	m->shutdown = (SkShutdown)how;
	return 0;
}

int inet_shutdown_restore(int fd, const InetSkEntry *m, const char *who)
{
	if (!m->has_shutdown || !m->shutdown)
		return 0;
	/* ENOTCONN: a socket that is not connected is shut down all the same. */
	if (shutdown(fd, (int)m->shutdown - 1) && errno != ENOTCONN)
		return log_errno(-errno, "%s: shutdown", who);
	return 0;
}
