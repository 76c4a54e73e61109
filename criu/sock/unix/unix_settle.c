/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What unix sockets get when all descriptors exist: receive queues are filled, directions are shut down, temporary
 * peers are closed, and options come last, since they would be in the way of all this.
 */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix_restore.h"

static int fill_stream(struct restore *r, struct usk *u)
{
	_cleanup_close_ int from = -1;
	size_t n = queue_count(r, u->m->id);

	if (!n || usk_is_dgram(u))
		return 0;
	if (u->temp != TEMP_NONE)
		return queue_send(r, u->m->id, 0, n, u->temp_fd);
	if (!u->peer || u->peer->m->state == TCP_LISTEN)
		return log_errno(-EINVAL, "%s: image error: queued messages, but no socket that could have sent them",
		                 u->text);
	from = files_borrow(r, u->peer->m->id);
	return from < 0 ? from : queue_send(r, u->m->id, 0, n, from);
}

static int shut_down(struct restore *r, struct usk *u)
{
	int how = u->m->has_shutdown ? (int)u->m->shutdown : 0;
	_cleanup_close_ int fd = -1;

	if (!how || (u->temp != TEMP_NONE && !usk_is_dgram(u)))
		return 0;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	return shutdown(fd, how - 1) ? log_errno(-errno, "%s: shutdown", u->text) : 0;
}

/* A peer that is closed with unread data leaves an error (ECONNRESET) behind. */
static int close_temp_peer(struct restore *r, struct usk *u)
{
	int err = usk_is_dgram(u) ? unix_dgram_name_temp(r, u) : 0;
	_cleanup_close_ int temp = usk_take_temp(u), fd = -1;

	if (err || temp < 0 || usk_is_dgram(u) || u->m->error != ECONNRESET)
		return err;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	if (send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return log_errno(-errno, "%s: send of data that its peer is not to read", u->text);
	return 0;
}

/* So is an accepted socket: its listener was a new one of ours. */
static bool is_fresh(struct restore *r, struct usk *u)
{
	if (u->fresh == FRESH_UNKNOWN && sock_fresh_has(r, &usk_all(r)->fresh, AF_UNIX, (int)u->m->type, u->m->opts))
		u->fresh = FRESH_YES;
	else if (u->fresh == FRESH_UNKNOWN)
		u->fresh = FRESH_NO;
	return u->fresh == FRESH_YES && u->made != MADE_INHERITED;
}

int unix_options_first(struct restore *r, struct usk *u)
{
	return is_fresh(r, u) ? 0 : sock_opts_before_bind(r, u->fd, u->m->opts, NULL, u->text);
}

int unix_options_ahead(struct restore *r, struct usk *u)
{
	if (!is_fresh(r, u))
		return 0;
	u->has_options = true;
	return u->made == MADE_PLAIN || u->m->flags != O_RDWR ? fd_flags_restore(u->fd, u->m->flags) : 0;
}

static int set_options(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = -1;
	int err;

	if (u->has_options)
		return 0;
	fd = files_borrow(r, u->m->id);
	err = fd < 0 ? fd : sock_opts_restore(r, fd, u->m->opts, NULL, u->text);
	return err ?: fd_flags_restore(fd, u->m->flags);
}

int unix_settle(struct restore *r)
{
	int err = unix_dgram_fill_all(r);

	err = err ?: usk_each_made(r, fill_stream);
	err = err ?: unix_dgram_connect_all(r);
	err = err ?: usk_each_made(r, shut_down);
	err = err ?: usk_each_made(r, close_temp_peer);
	return err ?: usk_each_made(r, set_options);
}
