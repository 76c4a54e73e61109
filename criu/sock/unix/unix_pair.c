/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making unix sockets that come in pairs: the two ends of a connection, and datagram sockets of a socketpair(2). So
 * that SO_PEERCRED shows the same as before (unix_creds.h), the calls are made by the tasks that made them once
 * (agent/impersonate.h). An accepted end has the name of its listener: a temporary listener with that name makes it.
 */
#include <string.h>

#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_restore.h"
#include "sock/unix/unix_temp.h"

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
	if (usk_find_name(all, u->net_ns, u->m->type, u->name, u->name_len))
		return true;
	if (other && other->name && usk_find_name(all, other->net_ns, other->m->type, other->name, other->name_len))
		return false;
	return !is_autobound(u);
}

static struct unix_name own_name(const struct usk *u)
{
	return (struct unix_name) {
		.name = u->name, .len = u->name_len, .type = u->m->type, .net_ns = u->net_ns, .text = u->text
	};
}

/* The name of a peer that is gone; len 0: none. */
static struct unix_name gone_peer_name(const struct usk *u)
{
	const ProtobufCBinaryData *b = &u->m->peer_name;
	struct unix_name n = { .name = (const char *)b->data, .len = u->m->has_peer_name ? b->len : 0 };

	n.type = u->m->type;
	n.net_ns = u->net_ns;
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
		err = unix_temp_connect(r, &own, &as, &as, fds);
	else if (peer.len)
		err = unix_temp_connect(r, &peer, &as, &as, fds);
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

/* Of a connection, the end that accept(2) has made; NULL: none. */
static struct usk *accepted_end(struct unix_restore *all, struct usk *u)
{
	return has_listeners_name(all, u) ? u : has_listeners_name(all, u->peer) ? u->peer : NULL;
}

static int set_accepted(struct usk *u, const int fds[2])
{
	return set_end(u->peer, MADE_END, fds[0]) ?: set_end(u, MADE_ACCEPTED, fds[1]);
}

int unix_pair_connect(struct restore *r, struct usk *u)
{
	struct usk *accepted = u->peer ? accepted_end(usk_all(r), u) : NULL;
	struct identity as = unix_creds_of(u->m);
	int fds[2] = { -1, -1 }, err;

	if (!u->peer)
		return make_end(r, u);
	if (accepted) {
		struct unix_name n = own_name(accepted);
		/* Each end shows the caller that made the other. */
		struct identity connects = unix_creds_of(accepted->m), listens = unix_creds_of(accepted->peer->m);

		err = unix_temp_connect(r, &n, &connects, &listens, fds);
		return err ?: set_accepted(accepted, fds);
	}
	err = impersonate_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	err = err ?: set_end(u, MADE_END, fds[0]);
	return err ?: set_end(u->peer, MADE_END, fds[1]);
}

int unix_pair_accept(struct restore *r, struct usk **list, size_t n)
{
	struct temp_pair *pairs = arena_array(r->arena, struct temp_pair, n + 1);
	size_t k = 0;
	int err;

	for (size_t i = 0; i < n; i++) {
		struct usk *accepted = accepted_end(usk_all(r), list[i]);

		if (!accepted)
			continue;
		pairs[k++] = (struct temp_pair) { .name = own_name(accepted),
			                          .connects = unix_creds_of(accepted->m),
			                          .listens = unix_creds_of(accepted->peer->m),
			                          .fds = { -1, -1 },
			                          .accepted = accepted };
	}
	err = unix_temp_connect_many(r, pairs, k);
	for (size_t i = 0; i < k && !err; i++)
		err = set_accepted(pairs[i].accepted, pairs[i].fds);
	return err;
}

int unix_pair_many(struct restore *r, struct usk **list, size_t *n)
{
	struct identity as = unix_creds_of(list[0]->m);
	struct pair_call calls[PAIRS_AT_ONCE];
	int err;

	*n = MIN(*n, ARRAY_SIZE(calls));
	for (size_t i = 0; i < *n; i++)
		calls[i] = (struct pair_call) { .type = (int)list[i]->m->type, .what = list[i]->text };
	err = impersonate_socketpairs(r, &as, calls, n);
	for (size_t i = 0; i < *n && !err; i++)
		if (calls[i].fds[0] >= 0)
			err = set_end(list[i], MADE_END, calls[i].fds[0])
			          ?: set_end(list[i]->peer, MADE_END, calls[i].fds[1]);
	return err;
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
