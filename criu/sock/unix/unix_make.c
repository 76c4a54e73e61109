/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making unix sockets at restore: all of them before any descriptor is opened, since they refer to each other, but for
 * pairs and single ones that no other refers to: these are made when they are opened.
 */
#include <fcntl.h>
#include <netinet/tcp.h>

#include "files/files.h"
#include "files/inherit.h"
#include "lib/log.h"
#include "options/inherited.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix_restore.h"

static bool is_connected(const struct usk *u)
{
	return !usk_is_dgram(u) && u->m->state == TCP_ESTABLISHED;
}

static int note_use(struct restore *r, const void *msg, void *arg)
{
	const UnixSkEntry *m = msg;
	struct usk *u = usk_find(arg, m->ino);

	if (!u || (m->uflags & USK_EXTERN))
		return 0;
	return usk_set_use(u, files_tabled(r, m->id) ? USE_TABLE : USE_QUEUE);
}

static int take_inherited(struct restore *r, struct usk *u)
{
	char resource[32];
	int fd, err;

	snprintf(resource, sizeof(resource), "socket:[%u]", u->ino);
	fd = inherited_fd(r->opts, resource);
	err = fd < 0 ? fd : inherit_nonblock(r, fd, u->m->flags);
	if (err)
		return log_errno(err, "%s: setting O_NONBLOCK of descriptor %d of --inherit-fd", u->text, fd);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return log_errno(-errno, "%s: fcntl(F_DUPFD_CLOEXEC) of --inherit-fd %s", u->text, resource);
	return usk_set_made(u, MADE_INHERITED, fd);
}

static int make_plain(struct usk *u)
{
	/* SOCK_NONBLOCK: a queue that is full, as an edited image may have it, is an error then. */
	int fd = socket(AF_UNIX, (int)u->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? log_errno(-errno, "%s: socket(AF_UNIX)", u->text) : usk_set_made(u, MADE_PLAIN, fd);
}

static int make_dgram(struct restore *r, struct usk *u)
{
	bool paired;
	int err = unix_pair_dgram(r, u, &paired);

	return err || paired ? err : make_plain(u);
}

/*
 * An unnamed datagram socket is made together with one that is connected to it, so that one goes first; so does the
 * other half of its socketpair(2).
 */
static bool comes_with_other(const struct usk *u, bool first)
{
	if (!first || !usk_is_dgram(u))
		return false;
	if (u->name)
		return u->from && u->peer != u->from && unix_pair_is_half(u->from, u);
	return u->incoming && !(u->peer && !u->peer->name);
}

/* One whose peer is gone, and that no other refers to. */
static bool is_lonely(const struct usk *u)
{
	return !u->peer && !u->m->peer && !u->m->has_peer_name && !u->incoming &&
	       (is_connected(u) || (usk_is_dgram(u) && u->m->has_cred_uid && u->m->error == ECONNREFUSED));
}

static bool is_plain_pair(const struct usk *u)
{
	const struct usk *peer = u->peer;

	return peer && peer != u && peer->peer == u && peer->use == USE_TABLE && !peer->inherited && !peer->name &&
	       !unix_listen_is_client(u) && !unix_listen_is_client(peer) && u->m->type == peer->m->type;
}

/*
 * Whether it is made when it is opened, since all of them at once may be more than criu can have open; one that only a
 * queue has is needed from the start.
 */
static bool is_made_late(const struct usk *u)
{
	return u->use == USE_TABLE && !u->inherited && !u->name && (is_plain_pair(u) || is_lonely(u));
}

static int make_one(struct restore *r, struct usk *u)
{
	if (u->made != MADE_NOT_YET || u->use == USE_NONE || is_made_late(u))
		return 0;
	if (u->inherited)
		return take_inherited(r, u);
	if (usk_is_dgram(u))
		return make_dgram(r, u);
	if (is_connected(u) && !unix_listen_is_client(u)) {
		if (u->peer && (u->peer->use == USE_NONE || u->peer->inherited))
			u->peer = NULL;
		return unix_pair_connect(r, u);
	}
	return make_plain(u);
}

int unix_make_all(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = files_each(r, kind_by_fd_type(FD_TYPES__UNIXSK), note_use, all);

	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		if (u->peer && u->peer != u) {
			u->peer->incoming++;
			if (u->use != USE_NONE && !u->peer->from)
				u->peer->from = u;
		}
	for (int first = 1; first >= 0; first--)
		for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
			if (!comes_with_other(u, first))
				err = make_one(r, u);
	unix_pair_close_listeners(all);
	return err;
}

/* One of those that are made when they are opened; all others exist by now. */
int unix_make_open(struct restore *r, const void *msg)
{
	const UnixSkEntry *m = msg;
	struct usk *u = usk_find(usk_all(r), m->ino);
	int err;

	if (!u || u->made != MADE_NOT_YET || !is_made_late(u))
		return log_errno(-ENOENT, "unix socket %u was not made", m->id);
	err = usk_is_dgram(u) ? make_dgram(r, u) : unix_pair_connect(r, u);
	if (!err)
		err = sock_opts_before_bind(r, u->fd, u->m->opts, u->text);
	if (!err && u->peer)
		err = sock_opts_before_bind(r, u->peer->fd, u->peer->m->opts, u->peer->text);
	if (err)
		return err;
	if (u->peer)
		files_set(r, u->peer->m->id, move_fd(&u->peer->fd));
	else if (u->temp != TEMP_NONE && !queue_count(r, m->id) && m->error != ECONNRESET)
		close(usk_take_temp(u)); /* nothing is left to be done with it */
	return move_fd(&u->fd);
}
