/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making unix sockets that come in pairs: the two ends of a connection, and datagram sockets of a socketpair(2). So
 * that SO_PEERCRED shows the same as before (unix_creds.h), the calls are made by the tasks that made them once
 * (agent/impersonate.h). An accepted end has the name of its listener: a temporary listener with that name makes it.
 */
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_restore.h"

/* The name of a listener. */
struct unix_name {
	const char *name;
	size_t len;
	uint32_t type;
	const char *text; /* of the socket, for messages */
};

/* A temporary listener: one for each name and type. */
struct unix_listener {
	const char *key; /* type, name */
	int fd;
	bool hidden; /* its file is in the scratch root: no other process can connect */
	unsigned scratch;
	struct identity as; /* the caller of the last listen(2) */
	bool listens;
	UT_hash_handle hh;
};

static int bind_listener(struct restore *r, struct unix_listener *l, const struct unix_name *n)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, n->name, n->len);
	int err;

	l->fd = socket(AF_UNIX, (int)n->type | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return log_errno(-errno, "%s: socket(AF_UNIX) of a temporary listener", n->text);
	l->hidden = n->name[0];
	if (l->hidden)
		return unix_bind_scratch(usk_all(r), l->fd, n->name, n->len, &l->scratch);
	do
		err = bind(l->fd, (struct sockaddr *)&a, len) ? -errno : 0;
	while (unix_bind_again(r, err));
	if (err)
		return log_errno(err, "%s: bind of a temporary listener to its name%s", n->text,
		                 err == -EADDRINUSE ? ": another socket has this name now" : "");
	return 0;
}

static int find_listener(struct restore *r, const struct unix_name *n, struct unix_listener **out)
{
	struct unix_restore *all = usk_all(r);
	char key[sizeof(struct sockaddr_un) + 4];
	struct unix_listener *l;
	size_t len = n->len + 1;
	int err;

	key[0] = (char)n->type;
	memcpy(key + 1, n->name, n->len);
	HASH_FIND(hh, all->listeners, key, len, l);
	if (!l) {
		l = arena_new_of(r->arena, struct unix_listener);
		err = bind_listener(r, l, n);
		if (err)
			return err;
		l->key = arena_memdup(r->arena, key, len);
		HASH_ADD_KEYPTR_IN(r->arena, hh, all->listeners, l->key, len, l);
	}
	*out = l;
	return 0;
}

void unix_pair_close_listeners(struct unix_restore *all)
{
	for (struct unix_listener *l = all->listeners; l; l = l->hh.next)
		close(l->fd);
	all->listeners = NULL;
}

/* An accepted connection is ours when it brings what we send. */
static bool is_our_client(int client, int accepted)
{
	uint64_t sent, got = 0;

	if (getrandom(&sent, sizeof(sent), 0) != sizeof(sent) ||
	    send(client, &sent, sizeof(sent), MSG_NOSIGNAL) != sizeof(sent))
		return false;
	return recv(accepted, &got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) == sizeof(got) && got == sent &&
	       recv(accepted, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got);
}

static int accept_ours(const struct unix_listener *l, int client, const struct unix_name *u)
{
	for (int tries = 0; tries < 64; tries++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

		if (fd < 0)
			return log_errno(-errno, "%s: accept4 of a temporary listener", u->text);
		if (l->hidden || is_our_client(client, fd))
			return fd;
		close(fd);
		if (!tries)
			log_warn("%s: rejected a foreign connection to its address during the restore", u->text);
	}
	return log_errno(-EBUSY, "%s: other processes keep connecting to its address", u->text);
}

/* Makes both ends, fds[0] the one that connects; the caller of connect(2) and that of listen(2). */
static int connect_pair(struct restore *r, const struct unix_name *n, const struct identity *connects,
                        const struct identity *listens, int fds[2])
{
	struct unix_listener *l;
	struct sockaddr_un a;
	char path[32];
	socklen_t len;
	int err = find_listener(r, n, &l);

	if (!err && (!l->listens || !unix_creds_equal(&l->as, listens))) {
		err = impersonate_listen(r, listens, l->fd, 1, n->text);
		l->as = *listens;
		l->listens = true;
	}
	if (err)
		return err;
	if (l->hidden)
		snprintf(path, sizeof(path), "%u/" SOCK_FILE, l->scratch);
	len = l->hidden ? unix_address(&a, path, strlen(path)) : unix_address(&a, n->name, n->len);
	fds[0] = socket(AF_UNIX, (int)n->type | SOCK_CLOEXEC, 0);
	if (fds[0] < 0)
		return log_errno(-errno, "%s: socket(AF_UNIX) for its peer", n->text);
	err = impersonate_connect(r, connects, fds[0], l->hidden ? usk_all(r)->scratch : -1, (struct sockaddr *)&a, len,
	                          n->text);
	if (err)
		return err;
	fds[1] = accept_ours(l, fds[0], n);
	return fds[1] < 0 ? fds[1] : 0;
}

/* "\0" and five hexadecimal digits: the kernel gives such names to sockets that bind without one, not to listeners. */
static bool is_autobound(const struct usk *u)
{
	return u->name_len == 6 && !u->name[0] && strspn(u->name + 1, "0123456789abcdef") >= 5;
}

/* Whether accept(2) gave a connected socket its name. */
static bool has_listeners_name(struct unix_restore *all, const struct usk *u)
{
	const struct usk *other = u->peer;

	if (!u->name)
		return false;
	if (usk_find_name(all, u->m->type, u->name, u->name_len))
		return true;
	if (other && other->name && usk_find_name(all, other->m->type, other->name, other->name_len))
		return false;
	return !is_autobound(u);
}

static struct unix_name own_name(const struct usk *u)
{
	return (struct unix_name) { .name = u->name, .len = u->name_len, .type = u->m->type, .text = u->text };
}

/* The name of a peer that is gone; len 0: none. */
static struct unix_name gone_peer_name(const struct usk *u)
{
	const ProtobufCBinaryData *b = &u->m->peer_name;
	struct unix_name n = { .name = (const char *)b->data, .len = u->m->has_peer_name ? b->len : 0 };

	n.type = u->m->type;
	n.text = u->text;
	if (n.len && n.name[0])
		n.len = strnlen(n.name, n.len);
	return n;
}

/* ---- connections ---- */

/* One whose peer is gone: the other end is a temporary one of ours. */
static int make_end(struct restore *r, struct usk *u)
{
	struct unix_name own = own_name(u), peer = gone_peer_name(u);
	struct identity as = unix_creds_of(u->m);
	bool accepted = has_listeners_name(usk_all(r), u);
	int fds[2] = { -1, -1 }, err;

	if (u->m->lost_to)
		log_warn("%s: its peer was held by %s, outside of the tree: that end is closed now", u->text,
		         u->m->lost_to);
	if (accepted)
		err = connect_pair(r, &own, &as, &as, fds);
	else if (peer.len)
		err = connect_pair(r, &peer, &as, &as, fds);
	else
		err = impersonate_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	err = err ?: usk_set_made(u, accepted ? MADE_ACCEPTED : MADE_END, fds[accepted]);
	err = err ?: usk_set_link(u, LINK_DONE);
	err = err ?: usk_set_temp(u, fds[!accepted]);
	if (err || !accepted || !peer.len)
		return err;
	return unix_bind_temp(r, u->temp_fd, peer.name, peer.len, u->text) ?: usk_set_temp_named(u);
}

static int set_end(struct usk *u, enum usk_made how, int fd)
{
	return usk_set_made(u, how, fd) ?: usk_set_link(u, LINK_DONE);
}

int unix_pair_connect(struct restore *r, struct usk *u)
{
	struct unix_restore *all = usk_all(r);
	struct usk *peer = u->peer, *accepted;
	struct identity as = unix_creds_of(u->m), other;
	int fds[2] = { -1, -1 }, err;

	if (!peer)
		return make_end(r, u);
	other = unix_creds_of(peer->m);
	accepted = has_listeners_name(all, u) ? u : has_listeners_name(all, peer) ? peer : NULL;
	if (accepted) {
		struct unix_name n = own_name(accepted);

		/* Each end shows the caller that made the other. */
		err = connect_pair(r, &n, accepted == u ? &as : &other, accepted == u ? &other : &as, fds);
	} else {
		err = impersonate_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	}
	err = err ?: set_end(u, accepted == u ? MADE_ACCEPTED : MADE_END, fds[accepted == u]);
	return err ?: set_end(peer, accepted == peer ? MADE_ACCEPTED : MADE_END, fds[accepted != u]);
}

/* ---- datagrams ---- */

bool unix_pair_is_half(const struct usk *u, const struct usk *of)
{
	return u->peer == of && !u->name && usk_is_dgram(u) && u->m->has_cred_uid && of->m->has_cred_uid &&
	       u->m->cred_pid == of->m->cred_pid && u->m->cred_uid == of->m->cred_uid &&
	       u->m->cred_gid == of->m->cred_gid;
}

/* The peer that a datagram socket is made together with, by one socketpair(2); NULL: none. */
static struct usk *other_half(const struct usk *u)
{
	struct usk *peer = u->peer;

	if (!peer || peer == u || peer->use == USE_NONE || peer->made != MADE_NOT_YET)
		return NULL;
	/* Named ones without credentials look the same when they are connected by name, in any order. */
	if (peer->name && !(u->m->has_cred_uid && peer->m->has_cred_uid && peer->peer == u) &&
	    !unix_pair_is_half(u, peer))
		return NULL;
	return peer;
}

static int set_half(struct usk *u, enum usk_link link, int fd)
{
	return usk_set_made(u, MADE_HALF, fd) ?: usk_set_link(u, link);
}

int unix_pair_dgram(struct restore *r, struct usk *u, bool *paired)
{
	struct usk *half = other_half(u);
	struct identity as = unix_creds_of(u->m);
	int fds[2], err;

	*paired = half || u->m->has_cred_uid;
	if (!*paired)
		return 0;
	err = impersonate_socketpair(r, &as, SOCK_DGRAM | SOCK_CLOEXEC, fds, u->text);
	if (err)
		return err;
	if (half)
		return set_half(u, LINK_DONE, fds[0])
		           ?: set_half(half, half->peer == u ? LINK_DONE : LINK_HALF, fds[1]);
	return set_half(u, LINK_HALF, fds[0]) ?: usk_set_temp(u, fds[1]);
}
