/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making unix sockets at restore: all of them before any descriptor is opened, since they refer to each other, but for
 * pairs and single ones that no other refers to: these are made when they are opened.
 */
#include <fcntl.h>
#include <netinet/tcp.h>

#include "files/files.h"
#include "files/inherit.h"
#include "lib/fd_flags.h"
#include "lib/log.h"
#include "options/inherited.h"
#include "sock/queue.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_restore.h"
#include "sock/unix/unix_temp.h"
#include "tree/subsys.h"

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

/* Flags of the description are those that the program had. */
static int take_from_plugin(struct restore *r, struct usk *u)
{
	int fd = subsys_externals()->open_unix_socket(r, u->m->id), err;

	if (fd < 0)
		return log_errno(fd, "%s: no plugin brings it back", u->text);
	err = fd_flags_restore(fd, u->m->flags);
	if (err) {
		close(fd);
		return err;
	}
	return usk_set_made(u, MADE_INHERITED, fd);
}

static int take_inherited(struct restore *r, struct usk *u)
{
	char resource[32];
	int fd, err;

	if (u->m->uflags & USK_CALLBACK)
		return take_from_plugin(r, u);

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
bool unix_make_is_late(const struct usk *u)
{
	return u->use == USE_TABLE && !u->inherited && !u->name && (is_plain_pair(u) || is_lonely(u));
}

static int make_one(struct restore *r, struct usk *u)
{
	if (u->made != MADE_NOT_YET || u->use == USE_NONE || unix_make_is_late(u))
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

int unix_make_begin(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = files_each(r, kind_by_fd_type(FD_TYPES__UNIXSK), note_use, all);

	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		if (u->peer && u->peer != u) {
			u->peer->incoming++;
			if (u->use != USE_NONE && !u->peer->from)
				u->peer->from = u;
		}
	unix_group_all(all);
	return err;
}

static int make_first(struct restore *r, struct usk *u)
{
	return comes_with_other(u, true) ? 0 : make_one(r, u);
}

/* Both ends of a connection, for unix_pair_accept(): as make_one() makes them. */
static bool is_whole_connection(const struct usk *u)
{
	return u->made == MADE_NOT_YET && u->use != USE_NONE && !u->inherited && is_connected(u) &&
	       !unix_listen_is_client(u) && u->peer && u->peer != u && u->peer->peer == u &&
	       u->peer->made == MADE_NOT_YET && u->peer->use != USE_NONE && !u->peer->inherited &&
	       u->order < u->peer->order && !unix_make_is_late(u);
}

static int make_accepted(struct restore *r)
{
	const struct unix_restore *all = usk_all(r);
	struct usk **list = arena_array(r->arena, struct usk *, all->n_portion + 1);
	size_t n = 0;

	for (size_t i = 0; i < all->n_portion; i++)
		if (is_whole_connection(all->portion[i]))
			list[n++] = all->portion[i];
	return unix_pair_accept(r, list, n);
}

int unix_make_portion(struct restore *r)
{
	int err = make_accepted(r);

	err = err ?: usk_each(r, make_first) ?: usk_each(r, make_one);
	unix_temp_close(usk_all(r));
	return err;
}

/* ---- when they are opened ---- */

#define LOOK_AHEAD 1000 /* sockets among which others are looked for that are made in the same turn */

/* u, and pairs after it that the same process has made in the same network namespace: in the order of files.img they
 * are opened soon. */
static size_t pairs_from(struct usk *u, struct usk **list, size_t max)
{
	uint32_t net_ns = u->net_ns;
	struct identity as = unix_creds_of(u->m), other;
	size_t n = 0, seen = 0;

	list[n++] = u;
	for (u = u->hh.next; u && n < max && seen < LOOK_AHEAD; u = u->hh.next, seen++) {
		if (u->made != MADE_NOT_YET || usk_is_dgram(u) || !u->peer || u->order > u->peer->order ||
		    !unix_make_is_late(u) || u->net_ns != net_ns)
			continue;
		other = unix_creds_of(u->m);
		if (unix_creds_equal(&as, &other))
			list[n++] = u;
	}
	return n;
}

static int finish_late(struct restore *r, struct usk *u)
{
	return unix_options_first(r, u) ?: unix_options_ahead(r, u);
}

static int make_pairs(struct restore *r, struct usk *u)
{
	struct usk *list[PAIRS_AT_ONCE];
	size_t n = pairs_from(u, list, MIN((size_t)PAIRS_AT_ONCE, files_spare() / 4 + 1));
	int err = unix_pair_many(r, list, &n);

	for (size_t i = 0; i < n && !err; i++) {
		struct usk *a = list[i], *b = a->peer;

		if (a->made == MADE_NOT_YET)
			continue;
		unix_group_done(a);
		err = finish_late(r, a) ?: finish_late(r, b);
		if (!err && a != u)
			files_set(r, a->m->id, move_fd(&a->fd));
		if (!err && b != u)
			files_set(r, b->m->id, move_fd(&b->fd));
	}
	return err;
}

int unix_make_late(struct restore *r, struct usk *u)
{
	const UnixSkEntry *m = u->m;
	int err;

	unix_group_done(u);
	if (u->peer && !usk_is_dgram(u)) {
		err = make_pairs(r, u);
		return err ?: u->fd < 0 ? log_errno(-ENOENT, "%s: it was not made", u->text) : move_fd(&u->fd);
	}
	err = usk_is_dgram(u) ? make_dgram(r, u) : unix_pair_connect(r, u);
	err = err ?: finish_late(r, u);
	err = err ?: u->peer ? finish_late(r, u->peer) : 0;
	if (err)
		return err;
	if (u->peer)
		files_set(r, u->peer->m->id, move_fd(&u->peer->fd));
	else if (u->temp != TEMP_NONE && !queue_count(r, m->id) && m->error != ECONNRESET)
		close(usk_take_temp(u)); /* nothing is left to be done with it */
	return move_fd(&u->fd);
}
