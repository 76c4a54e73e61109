/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets at restore, all at once, since they refer to each other. Names are taken when the temporary listeners
 * with the same names are gone; what others can see happens at the very end.
 */
#include <fcntl.h>
#include <netinet/tcp.h>

#include "options/inherited.h"
#include "files/inherit.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix.h"
#include "sock/unix/unix_restore.h"

static bool is_connected(const struct usk *u)
{
	return u->m->type != SOCK_DGRAM && u->m->state == TCP_ESTABLISHED;
}

/* It waits in the queue of a listening socket. */
static bool waits(const struct usk *u)
{
	return is_connected(u) && u->peer && u->peer->m->state == TCP_LISTEN;
}

static int mark_wanted(struct restore *r, const void *msg, void *arg)
{
	const UnixSkEntry *m = msg;
	struct usk *u = usk_find(arg, m->ino);

	if (u && !(m->uflags & USK_EXTERN)) {
		u->wanted = true;
		u->tabled = files_tabled(r, m->id);
	}
	return 0;
}

static int take_handed(struct restore *r, struct usk *u)
{
	char resource[32];
	int fd, err;

	snprintf(resource, sizeof(resource), "socket:[%u]", u->ino);
	fd = inherited_fd(r->opts, resource);
	err = fd < 0 ? fd : inherit_nonblock(r, fd, u->m->flags);
	if (err)
		return log_errno(err, "%s: setting O_NONBLOCK of descriptor %d of --inherit-fd", u->text, fd);
	u->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	u->made = true;
	return u->fd < 0 ? log_errno(-errno, "%s: the descriptor from --inherit-fd %s", u->text, resource) : 0;
}

/* Not to wait where a queue is full, which it can only be in an image that somebody has edited. */
static int make_plain(struct usk *u)
{
	u->fd = socket(AF_UNIX, (int)u->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	u->made = true;
	return u->fd < 0 ? log_errno(-errno, "%s: making it", u->text) : 0;
}

/* Whether one that has no name, but is connected to one that has, was born together with that. */
static bool is_other_half(const struct usk *u, const struct usk *of)
{
	return u->peer == of && !u->name && u->m->type == SOCK_DGRAM && u->m->has_cred_uid && of->m->has_cred_uid &&
	       u->m->cred_pid == of->m->cred_pid && u->m->cred_uid == of->m->cred_uid &&
	       u->m->cred_gid == of->m->cred_gid;
}

/*
 * A datagram socket that shows credentials (SO_PEERCRED) was born by socketpair(2), and so was one that has no name but
 * somebody connected to it. Its other half is the peer, or who is connected to it, or one of ours that will be gone.
 */
static int make_dgram(struct restore *r, struct usk *u)
{
	struct usk *peer = u->peer && u->peer != u && u->peer->wanted && !u->peer->made ? u->peer : NULL;
	struct identity as = unix_as(u->m);
	int fds[2], err;

	/* Named ones are connected by their names, in the order that they allow; without stamps the two are the same.
	 */
	if (peer && peer->name && !(u->m->has_cred_uid && peer->m->has_cred_uid && peer->peer == u) &&
	    !is_other_half(u, peer))
		peer = NULL;
	if (!u->m->has_cred_uid && !peer)
		return make_plain(u);
	err = impersonate_socketpair(r, &as, SOCK_DGRAM | SOCK_CLOEXEC, fds, u->text);
	if (err)
		return err;
	u->fd = fds[0];
	u->made = u->born = true;
	if (peer) {
		peer->fd = fds[1];
		peer->made = true;
		u->connected = true;
		peer->born = true;
		peer->connected = peer->peer == u;
		return 0;
	}
	u->temp = fds[1];
	return 0;
}

/* Unnamed ones that somebody is connected to come with him, so he is first; so do those whose other half he is. */
static bool comes_with_other(const struct usk *u, bool first)
{
	if (!first || u->m->type != SOCK_DGRAM)
		return false;
	if (u->name)
		return u->from && u->peer != u->from && is_other_half(u->from, u);
	return u->incoming && !(u->peer && !u->peer->name);
}

/* One whose peer is gone, and nothing refers to it. */
static bool is_lonely(const struct usk *u)
{
	return !u->peer && !u->m->peer && !u->m->has_peer_name && !u->incoming &&
	       (is_connected(u) || (u->m->type == SOCK_DGRAM && u->m->has_cred_uid && u->m->error == ECONNREFUSED));
}

static bool is_plain_pair(const struct usk *u)
{
	const struct usk *peer = u->peer;

	return peer && peer != u && peer->peer == u && peer->wanted && peer->tabled && !peer->handed && !peer->name &&
	       !waits(u) && !waits(peer) && u->m->type == peer->m->type;
}

/*
 * What nobody else refers to is made when it is opened: all of them at once may be more than we can have. One that only
 * a queue has is needed from the start.
 */
static bool can_wait(const struct usk *u)
{
	return u->wanted && u->tabled && !u->handed && !u->name && (is_plain_pair(u) || is_lonely(u));
}

static int make_one(struct restore *r, struct usk *u)
{
	if (u->made || !u->wanted || can_wait(u))
		return 0;
	if (u->handed)
		return take_handed(r, u);
	if (u->m->type == SOCK_DGRAM)
		return make_dgram(r, u);
	if (is_connected(u) && !waits(u)) {
		if (u->peer && (!u->peer->wanted || u->peer->handed))
			u->peer = NULL;
		return unix_make_connected(r, u);
	}
	return make_plain(u);
}

static int make_all(struct restore *r, struct unix_restore *all)
{
	int err = 0;

	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		if (u->peer && u->peer != u) {
			u->peer->incoming++;
			if (u->wanted && !u->peer->from)
				u->peer->from = u;
		}
	for (int first = 1; first >= 0; first--)
		for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
			if (!comes_with_other(u, first))
				err = make_one(r, u);
	unix_close_listeners(all);
	return err;
}

static int bind_all(struct restore *r, struct unix_restore *all)
{
	struct usk **named = NULL;
	size_t n = 0;
	int err = 0;

	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next) {
		if (!u->made || u->handed)
			continue;
		err = sock_opts_before_bind(r, u->fd, u->m->opts, u->text);
		if (u->name && !u->accepted)
			arena_push(r->arena, &named, &n, u);
	}
	return err ?: unix_bind_all(r, named, n);
}

/* ---- listening ---- */

static int connect_waiting(struct restore *r, const struct usk *l, const struct identity *as, int fd)
{
	struct sockaddr_un a;
	socklen_t len;
	bool own;
	int dir, err = unix_reach(unix_restore_of(r), l, &a, &len, &dir, &own);

	if (err)
		return err;
	err = impersonate_connect(r, as, fd, dir, (struct sockaddr *)&a, len, l->text);
	if (own)
		close(dir);
	return err;
}

static int wait_client(struct restore *r, const struct usk *l, struct usk *client)
{
	const UnixSkEntry *m = client->m;
	struct identity as = { .uid = geteuid(), .gid = getegid() };

	if (m->has_connector_uid && m->has_connector_gid)
		as = (struct identity) { .pid = VPID(m->connector_pid),
			                 .uid = m->connector_uid,
			                 .gid = m->connector_gid };
	client->connected = true;
	return connect_waiting(r, l, &as, client->fd);
}

/* One that is gone: what it left in the queue is a connection that ends. */
static int wait_gone(struct restore *r, const struct usk *l)
{
	_cleanup_close_ int fd = socket(AF_UNIX, (int)l->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct identity as = { .uid = geteuid(), .gid = getegid() };

	return fd < 0 ? log_errno(-errno, "%s: a socket that is closed again", l->text)
	              : connect_waiting(r, l, &as, fd);
}

static int listen_one(struct restore *r, struct usk *l)
{
	struct unix_restore *all = unix_restore_of(r);
	const UnixSkEntry *m = l->m;
	struct identity as = unix_as(m);
	int err, backlog = m->backlog > INT32_MAX ? INT32_MAX : (int)m->backlog;
	int waiting = (int)MIN(l->incoming + m->n_waiting, 4096UL);

	if (m->state != TCP_LISTEN || l->handed)
		return 0;
	/* The backlog may have been made smaller since they came. */
	err = impersonate_listen(r, &as, l->fd, MAX(backlog, waiting), l->text);
	for (size_t i = 0; i < m->n_waiting && !err; i++) {
		struct usk *client = usk_find(all, m->waiting[i]);

		if (!client)
			err = wait_gone(r, l);
		else if (client->wanted && client->made && waits(client) && client->peer == l && !client->connected)
			err = wait_client(r, l, client);
	}
	l->listens = true; /* listens: those that are not in its list follow */
	return err;
}

static int wait_rest(struct restore *r, struct usk *u)
{
	if (!u->made || !waits(u) || u->connected || u->handed)
		return 0;
	return u->peer->listens ? wait_client(r, u->peer, u) : log_errno(-EINVAL, "%s: nobody listens for it", u->text);
}

static int finish_one(struct restore *r, struct usk *l)
{
	struct identity as = unix_as(l->m);
	int err = 0;

	if (l->listens && (l->incoming || l->m->n_waiting))
		err = impersonate_listen(r, &as, l->fd, l->m->backlog > INT32_MAX ? INT32_MAX : (int)l->m->backlog,
		                         l->text);
	return err ?: l->at == AT_HIDDEN ? unix_publish(r, l) : 0;
}

static int for_wanted(struct restore *r, struct unix_restore *all, int (*fn)(struct restore *r, struct usk *u))
{
	int err = 0;

	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->wanted)
			err = fn(r, u);
	return err;
}

int unix_prepare(struct restore *r)
{
	struct unix_restore *all = unix_restore_of(r);
	int err = files_each(r, &unix_kind, mark_wanted, all);

	if (!err)
		err = make_all(r, all);
	if (!err)
		err = bind_all(r, all);
	fault_point("unix sockets named");
	if (!err)
		err = for_wanted(r, all, listen_one);
	if (!err)
		err = for_wanted(r, all, wait_rest);
	fault_point("unix sockets listen");
	if (!err)
		err = for_wanted(r, all, finish_one);
	fault_point("unix sockets in place");
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->wanted && u->made) {
			files_set(r, u->m->id, u->fd);
			u->fd = -1;
		}
	return err;
}

/* Of a pair that could wait; all others are made by now. */
int unix_open(struct restore *r, const void *msg)
{
	const UnixSkEntry *m = msg;
	struct usk *u = usk_find(unix_restore_of(r), m->ino);
	int err;

	if (!u || u->made || !can_wait(u))
		return log_errno(-ENOENT, "unix socket %u was not made", m->id);
	err = u->m->type == SOCK_DGRAM ? make_dgram(r, u) : unix_make_connected(r, u);
	if (!err)
		err = sock_opts_before_bind(r, u->fd, u->m->opts, u->text);
	if (!err && u->peer)
		err = sock_opts_before_bind(r, u->peer->fd, u->peer->m->opts, u->peer->text);
	if (err)
		return err;
	if (u->peer)
		files_set(r, u->peer->m->id, move_fd(&u->peer->fd));
	else if (u->temp >= 0 && !queue_count(r, m->id) && m->error != ECONNRESET) /* it leaves nothing behind */
		close(move_fd(&u->temp));
	return move_fd(&u->fd);
}
