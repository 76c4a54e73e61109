/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connected unix sockets. What SO_PEERCRED shows was stamped when they were connected: on the end that connect(2) made,
 * it is whoever had called listen(2); on the end that accept(2) made, whoever had called connect(2); on both of a
 * socketpair(2), its caller. An accepted one has the name of its listener too. So where there is a name, a temporary
 * listener with that name makes them, and the calls are made by those who made them once (agent/impersonate.h).
 */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>

#include "lib/log.h"
#include "sock/unix/unix_restore.h"

/* What a listener is to be called. */
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
	bool hidden; /* it lies in the scratch root: nobody else can connect */
	unsigned scratch;
	struct identity as; /* who has called listen() last */
	bool listens;
	UT_hash_handle hh;
};

struct identity unix_as(const UnixSkEntry *m)
{
	struct identity as = { .uid = geteuid(), .gid = getegid() };

	if (m->has_cred_uid && m->has_cred_gid)
		as = (struct identity) { .pid = VPID(m->has_cred_pid ? m->cred_pid : 0),
			                 .uid = m->cred_uid,
			                 .gid = m->cred_gid,
			                 .groups = m->cred_groups ?: (const uint32_t *)"",
			                 .n_groups = m->n_cred_groups };
	return as;
}

static bool same_as(const struct identity *a, const struct identity *b)
{
	return a->pid.v == b->pid.v && a->uid == b->uid && a->gid == b->gid && a->n_groups == b->n_groups &&
	       !a->groups == !b->groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}

static int bind_listener(struct restore *r, struct unix_listener *l, const struct unix_name *n)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, n->name, n->len);
	int err;

	l->fd = socket(AF_UNIX, (int)n->type | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return log_errno(-errno, "%s: a socket for its name", n->text);
	l->hidden = n->name[0];
	if (l->hidden)
		return unix_bind_scratch(unix_restore_of(r), l->fd, n->name, n->len, &l->scratch);
	do
		err = bind(l->fd, (struct sockaddr *)&a, len) ? -errno : 0;
	while (unix_free_soon(r, err));
	if (err)
		return log_errno(err, "%s: binding a listener to its name for a while%s", n->text,
		                 err == -EADDRINUSE ? ": another socket has this name now" : "");
	return 0;
}

static int listener_of(struct restore *r, const struct unix_name *n, struct unix_listener **out)
{
	struct unix_restore *all = unix_restore_of(r);
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

void unix_close_listeners(struct unix_restore *all)
{
	for (struct unix_listener *l = all->listeners; l; l = l->hh.next)
		close(l->fd);
	all->listeners = NULL;
}

/* What comes out of the listener is ours when what we send comes out of it. */
static bool is_ours(int client, int accepted)
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
			return log_errno(-errno, "%s: accepting it", u->text);
		if (l->hidden || is_ours(client, fd))
			return fd;
		close(fd);
		if (!tries)
			log_warn("%s: somebody connects to its name while it is being restored; he is sent away",
			         u->text);
	}
	return log_errno(-EBUSY, "%s: somebody else is connecting to its name all the time", u->text);
}

/* Both ends, fds[0] the one that connects. The stamps: who connects, and who listens. */
static int connect_pair(struct restore *r, const struct unix_name *n, const struct identity *connects,
                        const struct identity *listens, int fds[2])
{
	struct unix_listener *l;
	struct sockaddr_un a;
	char path[32];
	socklen_t len;
	int err = listener_of(r, n, &l);

	if (!err && (!l->listens || !same_as(&l->as, listens))) {
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
		return log_errno(-errno, "%s: a socket for its peer", n->text);
	err = impersonate_connect(r, connects, fds[0], l->hidden ? unix_restore_of(r)->scratch : -1,
	                          (struct sockaddr *)&a, len, n->text);
	if (err)
		return err;
	fds[1] = accept_ours(l, fds[0], n);
	return fds[1] < 0 ? fds[1] : 0;
}

/* "\0" and five hexadecimal digits: what the kernel gives to a socket that binds itself. Listeners have other names. */
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
	if (usk_named(all, u->m->type, u->name, u->name_len))
		return true;
	if (other && other->name && usk_named(all, other->m->type, other->name, other->name_len))
		return false;
	return !is_autobound(u);
}

static struct unix_name name_of(const struct usk *u)
{
	return (struct unix_name) { .name = u->name, .len = u->name_len, .type = u->m->type, .text = u->text };
}

/* The name that a peer had who is gone; len 0: none. */
static struct unix_name gone_name(const struct usk *u)
{
	const ProtobufCBinaryData *b = &u->m->peer_name;
	struct unix_name n = { .name = (const char *)b->data, .len = u->m->has_peer_name ? b->len : 0 };

	n.type = u->m->type;
	n.text = u->text;
	if (n.len && n.name[0])
		n.len = strnlen(n.name, n.len);
	return n;
}

static int make_gone(struct restore *r, struct usk *u)
{
	struct unix_name own = name_of(u), peer = gone_name(u);
	struct identity as = unix_as(u->m);
	int fds[2] = { -1, -1 }, err;

	if (u->m->lost_to)
		log_warn("%s: its peer was held by %s, outside of the tree: that end is closed now", u->text,
		         u->m->lost_to);
	u->accepted = has_listeners_name(unix_restore_of(r), u);
	if (u->accepted)
		err = connect_pair(r, &own, &as, &as, fds);
	else if (peer.len)
		err = connect_pair(r, &peer, &as, &as, fds);
	else
		err = impersonate_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	if (err)
		return err;
	u->fd = fds[u->accepted];
	u->temp = fds[!u->accepted];
	u->made = true;
	return u->accepted && peer.len ? unix_name_temp(r, u->temp, peer.name, peer.len, u->text) : 0;
}

int unix_make_connected(struct restore *r, struct usk *u)
{
	struct unix_restore *all = unix_restore_of(r);
	struct usk *peer = u->peer, *accepted;
	struct identity as = unix_as(u->m), other;
	int fds[2] = { -1, -1 }, err;

	if (!peer)
		return make_gone(r, u);
	other = unix_as(peer->m);
	accepted = has_listeners_name(all, u) ? u : has_listeners_name(all, peer) ? peer : NULL;
	if (accepted) {
		struct unix_name n = name_of(accepted);

		/* What an end shows is who made the other. */
		err = connect_pair(r, &n, accepted == u ? &as : &other, accepted == u ? &other : &as, fds);
		accepted->accepted = true;
	} else {
		err = impersonate_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	}
	if (err)
		return err;
	u->fd = fds[accepted == u];
	peer->fd = fds[accepted != u];
	u->made = peer->made = true;
	return 0;
}
