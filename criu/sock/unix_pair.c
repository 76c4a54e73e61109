/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Connected unix sockets. What SO_PEERCRED shows was stamped when they were connected: on the end that connect(2) made,
 * it is whoever had called listen(2); on the end that accept(2) made, whoever had called connect(2); on both of a
 * socketpair(2), its caller. An accepted one has the name of its listener too. So where there is a name, a temporary
 * listener with that name makes them, and the calls are made by those who made them once (agent/as.h).
 */
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>

#include "core/log.h"
#include "sock/unix_restore.h"

/* A temporary listener: one for each name and type. */
struct unix_listener {
	const char *key; /* type, name */
	int fd;
	bool hidden; /* it lies in the scratch root: nobody else can connect */
	unsigned scratch;
	struct as as; /* who has called listen() last */
	bool listens;
	UT_hash_handle hh;
};

struct as unix_as(const UnixSkEntry *m)
{
	struct as as = { .uid = geteuid(), .gid = getegid() };

	if (m->has_cred_uid && m->has_cred_gid)
		as = (struct as) { .pid = VPID(m->has_cred_pid ? m->cred_pid : 0),
			           .uid = m->cred_uid,
			           .gid = m->cred_gid,
			           .groups = m->cred_groups ?: (const uint32_t *)"",
			           .n_groups = m->n_cred_groups };
	return as;
}

static bool same_as(const struct as *a, const struct as *b)
{
	return a->pid.v == b->pid.v && a->uid == b->uid && a->gid == b->gid && a->n_groups == b->n_groups &&
	       !a->groups == !b->groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}

static int bind_listener(struct restore *r, struct unix_listener *l, const struct usk *u)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, u->name, u->name_len);

	l->fd = socket(AF_UNIX, (int)u->m->type | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return log_errno(-errno, "%s: a socket for its name", u->text);
	l->hidden = usk_is_path(u);
	if (l->hidden)
		return unix_bind_scratch(unix_restore_of(r), l->fd, u->name, u->name_len, &l->scratch);
	if (bind(l->fd, (struct sockaddr *)&a, len))
		return log_errno(-errno, "%s: binding a listener to its name for a while%s", u->text,
		                 errno == EADDRINUSE ? ": another socket has this name now" : "");
	return 0;
}

static int listener_of(struct restore *r, const struct usk *u, struct unix_listener **out)
{
	struct unix_restore *all = unix_restore_of(r);
	struct arena *table_arena = r->arena;
	char key[sizeof(struct sockaddr_un) + 4];
	struct unix_listener *l;
	size_t len = u->name_len + 1;
	int err;

	key[0] = (char)u->m->type;
	memcpy(key + 1, u->name, u->name_len);
	HASH_FIND(hh, all->listeners, key, len, l);
	if (!l) {
		l = arena_new_of(r->arena, struct unix_listener);
		err = bind_listener(r, l, u);
		if (err)
			return err;
		l->key = arena_memdup(r->arena, key, len);
		HASH_ADD_KEYPTR(hh, all->listeners, l->key, len, l);
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

static int accept_ours(const struct unix_listener *l, int client, const struct usk *u)
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

/*
 * client and accepted: the entries, either NULL where that end is gone; *fds: both sockets, the accepted one second.
 * u is the one that has the name.
 */
static int connect_pair(struct restore *r, const UnixSkEntry *client, const struct usk *u, int fds[2])
{
	struct as listens = unix_as(client), connects = unix_as(u->m);
	struct unix_listener *l;
	struct sockaddr_un a;
	char path[32];
	socklen_t len;
	int err = listener_of(r, u, &l);

	if (!err && (!l->listens || !same_as(&l->as, &listens))) {
		err = as_listen(r, &listens, l->fd, 1, u->text);
		l->as = listens;
		l->listens = true;
	}
	if (err)
		return err;
	if (l->hidden)
		snprintf(path, sizeof(path), "%u/" UNIX_FILE, l->scratch);
	len = l->hidden ? unix_address(&a, path, strlen(path)) : unix_address(&a, u->name, u->name_len);
	fds[0] = socket(AF_UNIX, (int)u->m->type | SOCK_CLOEXEC, 0);
	if (fds[0] < 0)
		return log_errno(-errno, "%s: a socket for its peer", u->text);
	err = as_connect(r, &connects, fds[0], l->hidden ? unix_restore_of(r)->scratch : -1, (struct sockaddr *)&a, len,
	                 u->text);
	if (err)
		return err;
	fds[1] = accept_ours(l, fds[0], u);
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

/* With both ends in the tree: the one that accept(2) made, or NULL for a socketpair. */
static struct usk *accepted_of(struct unix_restore *all, struct usk *u)
{
	if (has_listeners_name(all, u))
		return u;
	if (u->peer && has_listeners_name(all, u->peer))
		return u->peer;
	return NULL;
}

int unix_make_connected(struct restore *r, struct usk *u)
{
	struct usk *accepted = accepted_of(unix_restore_of(r), u), *peer = u->peer;
	struct as as = unix_as(u->m);
	int fds[2] = { -1, -1 }, err;

	if (accepted) {
		const struct usk *client = accepted == u ? peer : u;

		/* The listener of one whose other end is gone is nobody's. */
		err = connect_pair(r, client ? client->m : accepted->m, accepted, fds);
		accepted->accepted = true;
	} else {
		err = as_socketpair(r, &as, (int)u->m->type | SOCK_CLOEXEC, fds, u->text);
	}
	if (err)
		return err;
	u->fd = fds[accepted == u];
	u->made = true;
	if (!peer) {
		u->temp = fds[accepted != u];
		return 0;
	}
	peer->fd = fds[accepted != u];
	peer->made = true;
	return 0;
}
