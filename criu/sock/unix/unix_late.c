/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets when all descriptors are there, all of them at the first call: queues are filled, then datagram sockets
 * are connected (after that, only their peers could have sent to them), then directions are shut, peers that are gone
 * go, and options come last, since they would be in the way of all this.
 */
#include <netinet/tcp.h>
#include <string.h>

#include "lib/fd_flags.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix.h"
#include "sock/unix/unix_late.h"
#include "sock/unix/unix_restore.h"

static bool is_dgram(const struct usk *u)
{
	return u->m->type == SOCK_DGRAM;
}

/* ---- connecting datagram sockets ---- */

/* Connected to one that is gone. (The state says nothing: the kernel sets it on whoever is connected to, too.) */
static bool is_dangling(const struct usk *u)
{
	return u->m->error == ECONNREFUSED;
}

static int disconnect(const struct usk *u, int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	return connect(fd, &none, sizeof(none)) ? log_errno(-errno, "%s: disconnecting it", u->text) : 0;
}

static int connect_by_fd(struct unix_restore *all, struct usk *u, int fd)
{
	struct usk *to = u->peer;
	struct sockaddr_un a;
	socklen_t len;
	int err;

	u->connected = true;
	if (to->m->uflags & USK_EXTERN) {
		len = unix_address(&a, to->name, to->name_len);
		err = connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	} else {
		err = unix_connect_to(all, fd, to);
	}
	return err ? log_errno(err, "%s: connecting it to %s", u->text, to->text) : 0;
}

/* To one of ours, which is closed at once: the socket is connected to nobody, and its next send is refused. */
static int connect_dangling(struct restore *r, const struct usk *u, int fd)
{
	struct usk gone = { .m = u->m, .text = u->text, .name = (const char *)u->m->peer_name.data };
	_cleanup_close_ int ours = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	int err;

	if (ours < 0)
		return log_errno(-errno, "%s: a socket that will be gone", u->text);
	gone.name_len = u->m->has_peer_name ? u->m->peer_name.len : 0;
	if (gone.name_len && gone.name[0]) {
		gone.at = AT_SCRATCH;
		err = unix_bind_scratch(unix_restore_of(r), ours, gone.name, strnlen(gone.name, gone.name_len),
		                        &gone.scratch)
		          ?: unix_connect_to(unix_restore_of(r), fd, &gone);
		return err ? log_errno(err, "%s: connecting it to a socket that will be gone", u->text) : 0;
	}
	err = gone.name_len ? unix_name_temp(r, ours, gone.name, gone.name_len, u->text) : 0;
	/* The kernel gives a name to who binds to none. */
	if (err || (bind(ours, (struct sockaddr *)&a, sizeof(a.sun_family)) && errno != EINVAL) ||
	    getsockname(ours, (struct sockaddr *)&a, &len) || connect(fd, (struct sockaddr *)&a, len))
		return err ?: log_errno(-errno, "%s: connecting it to a socket that will be gone", u->text);
	return 0;
}

int unix_connect_dgram(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = -1;

	if (u->connected)
		return 0;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	if (u->peer)
		return connect_by_fd(unix_restore_of(r), u, fd);
	u->connected = true;
	return is_dangling(u) ? connect_dangling(r, u, fd) : 0;
}

/*
 * Those of a socketpair that are connected to somebody else now, or to nobody: before anything waits in them, since it
 * would be lost. The former are connected when it is their turn.
 */
static int adjust_born(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = -1;

	if (!u->born || u->connected || (!u->peer && is_dangling(u)))
		return 0; /* the other half, which is gone, is still to go */
	fd = files_borrow(r, u->m->id);
	u->connected = !u->peer;
	return fd < 0 ? fd : disconnect(u, fd);
}

static bool blocks_peer(const struct usk *u)
{
	return is_dgram(u) && u->wanted && !u->connected && u->peer && u->peer != u && u->peer->peer != u;
}

/* Nobody can be connected to one that is connected to somebody else: whoever is connected to it goes first. */
static int connect_all(struct restore *r, struct unix_restore *all)
{
	struct usk *next;
	int err = 0;

	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		u->incoming = 0;
	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		if (blocks_peer(u))
			u->peer->incoming++;
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next) {
		for (struct usk *at = u; at && !err; at = next) {
			bool blocks = blocks_peer(at);

			next = NULL;
			if (!is_dgram(at) || !at->wanted || at->handed || at->incoming || at->connected ||
			    (at->born && !at->peer))
				continue;
			err = unix_connect_dgram(r, at);
			if (blocks && --at->peer->incoming == 0)
				next = at->peer;
		}
	}
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->wanted && u->incoming && blocks_peer(u))
			err = log_errno(-EINVAL, "%s: it is connected in a ring that there cannot be", u->text);
	return err;
}

/* ---- the rest ---- */

static int fill_one(struct restore *r, struct usk *u)
{
	_cleanup_close_ int from = -1;
	size_t n = queue_count(r, u->m->id);
	int err;

	if (is_dgram(u))
		return n && !u->filled ? unix_fill_dgram(r, u, n) : 0;
	if (!n)
		return 0;
	if (u->temp >= 0)
		return queue_send(r, u->m->id, 0, n, u->temp);
	if (!u->peer || u->peer->m->state == TCP_LISTEN)
		return log_errno(-EINVAL, "%s: something waits in it, but nobody can have sent it", u->text);
	from = files_borrow(r, u->peer->m->id);
	err = from < 0 ? from : queue_send(r, u->m->id, 0, n, from);
	return err;
}

/* A sender that has to send himself must have nothing in his own queue. */
static int fill_first(struct restore *r, struct usk *u)
{
	return is_dgram(u) && unix_needs_owner(r, u) ? fill_one(r, u) : 0;
}

static int shut_one(struct restore *r, struct usk *u)
{
	int how = u->m->has_shutdown ? (int)u->m->shutdown : 0;
	_cleanup_close_ int fd = -1;

	if (!how || (u->temp >= 0 && !is_dgram(u)))
		return 0;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	return shutdown(fd, how - 1) ? log_errno(-errno, "%s: shutting it", u->text) : 0;
}

/* The peer goes; with something unread it leaves an error behind. */
static int close_temp(struct restore *r, struct usk *u)
{
	const ProtobufCBinaryData *name = &u->m->peer_name;
	_cleanup_close_ int temp = -1, fd = -1;
	int err = 0;

	if (u->temp >= 0 && is_dgram(u) && is_dangling(u) && u->m->has_peer_name && name->len)
		err = unix_name_half(r, u, (const char *)name->data,
		                     name->data[0] ? strnlen((const char *)name->data, name->len) : name->len);
	temp = move_fd(&u->temp);
	if (err || temp < 0 || is_dgram(u) || u->m->error != ECONNRESET)
		return err;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	if (send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		return log_errno(-errno, "%s: what its peer has not read", u->text);
	return 0;
}

static int options_one(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = files_borrow(r, u->m->id);
	int err = fd < 0 ? fd : sock_opts_restore(r, fd, u->m->opts, u->text);

	return err ?: fd_flags_restore(fd, u->m->flags);
}

static int for_made(struct restore *r, struct unix_restore *all, int (*fn)(struct restore *r, struct usk *u))
{
	int err = 0;

	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->wanted && u->made && !u->handed)
			err = fn(r, u);
	return err;
}

static int late_all(struct restore *r, struct unix_restore *all)
{
	int err = for_made(r, all, unix_fill_born);

	if (!err)
		err = for_made(r, all, adjust_born);
	if (!err)
		err = for_made(r, all, fill_first);
	if (!err)
		err = for_made(r, all, fill_one);
	if (!err)
		err = connect_all(r, all);
	if (!err)
		err = for_made(r, all, shut_one);
	if (!err)
		err = for_made(r, all, close_temp);
	if (!err)
		err = for_made(r, all, options_one);
	if (all->scratch >= 0)
		close(all->scratch);
	all->scratch = -1;
	return err;
}

int unix_late(struct restore *r, const void *msg, int fd)
{
	struct unix_restore *all = unix_restore_of(r);

	(void)msg;
	(void)fd;
	if (all->late_done)
		return 0;
	all->late_done = true;
	return late_all(r, all);
}
