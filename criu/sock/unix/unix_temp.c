/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/random.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_temp.h"

#define CONNECTIONS 100 /* that are made at once: a listener holds so many */

/* One for each name and type. */
struct unix_listener {
	const char *key; /* type, network namespace, name */
	int fd;
	bool hidden; /* its file is in the scratch root: no other process can connect */
	bool bound;
	unsigned scratch;
	struct identity as; /* the caller of the last listen(2) */
	bool listens;
	UT_hash_handle hh;
};

/* ---- listeners ---- */

static int bind_abstract(struct restore *r, const struct unix_listener *l, const struct unix_name *n)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, n->name, n->len);
	int err;

	do
		err = bind(l->fd, (struct sockaddr *)&a, len) ? -errno : 0;
	while (unix_bind_again(r, err));
	if (err)
		return log_errno(err, "%s: bind of a temporary listener to its name%s", n->text,
		                 err == -EADDRINUSE ? ": another socket has this name now" : "");
	return 0;
}

/* A new one is not bound yet. */
static int find_listener(struct restore *r, const struct unix_name *n, struct unix_listener **out)
{
	struct unix_restore *all = usk_all(r);
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	char key[sizeof(struct sockaddr_un) + 8];
	struct unix_listener *l;
	size_t len = n->len + 5;
	int err;

	key[0] = (char)n->type;
	memcpy(key + 1, &n->net_ns, sizeof(n->net_ns));
	memcpy(key + 5, n->name, n->len);
	HASH_FIND(hh, all->listeners, key, len, l);
	if (!l) {
		err = net_ns_visit(r, n->net_ns, &v);
		if (err)
			return err;
		l = arena_new_of(r->arena, struct unix_listener);
		l->hidden = n->name[0];
		l->fd = socket(AF_UNIX, (int)n->type | SOCK_CLOEXEC, 0);
		if (l->fd < 0)
			return log_errno(-errno, "%s: socket(AF_UNIX) of a temporary listener", n->text);
		l->key = arena_memdup(r->arena, key, len);
		HASH_ADD_KEYPTR_IN(r->arena, hh, all->listeners, l->key, len, l);
	}
	*out = l;
	return 0;
}

/* Those of n connections that have no name yet. */
static int bind_listeners(struct restore *r, struct temp_pair **pairs, size_t n)
{
	struct scratch_bind *binds = arena_array(r->arena, struct scratch_bind, n);
	size_t k = 0;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		const struct unix_name *name = &pairs[i]->name;
		struct unix_listener *l = pairs[i]->listener;

		if (l->bound)
			continue;
		l->bound = true;
		if (l->hidden)
			binds[k++] = (struct scratch_bind) {
				.fd = l->fd, .name = name->name, .len = name->len, .number = &l->scratch
			};
		else
			err = bind_abstract(r, l, name);
	}
	return err ?: unix_bind_scratch_all(usk_all(r), binds, k);
}

/* So that each can hold all connections that are to be made, and some of others: connect(2) must not wait. */
static int listen_all(struct restore *r, struct temp_pair **pairs, size_t n)
{
	struct listen_call calls[CONNECTIONS];
	size_t k = 0;

	for (size_t i = 0; i < n; i++) {
		struct unix_listener *l = pairs[i]->listener;

		if (l->listens && unix_creds_equal(&l->as, &pairs[i]->listens))
			continue;
		calls[k++] = (struct listen_call) { l->fd, 2 * CONNECTIONS, pairs[i]->name.text };
		l->as = pairs[i]->listens;
		l->listens = true;
	}
	return impersonate_listen_all(r, &pairs[0]->listens, calls, k);
}

void unix_temp_close(struct unix_restore *all)
{
	for (struct unix_listener *l = all->listeners; l; l = l->hh.next)
		close(l->fd);
	all->listeners = NULL;
}

/* ---- connections ---- */

static int connect_all(struct restore *r, struct temp_pair **pairs, size_t n)
{
	struct connect_call calls[CONNECTIONS];
	bool hidden = pairs[0]->listener->hidden;

	for (size_t i = 0; i < n; i++) {
		const struct unix_listener *l = pairs[i]->listener;
		struct connect_call *c = &calls[i];
		char path[32];

		pairs[i]->fds[0] = socket(AF_UNIX, (int)pairs[i]->name.type | SOCK_CLOEXEC, 0);
		if (pairs[i]->fds[0] < 0)
			return log_errno(-errno, "%s: socket(AF_UNIX) for its peer", pairs[i]->name.text);
		snprintf(path, sizeof(path), "%u/" SOCK_FILE, l->scratch);
		c->len = l->hidden ? unix_address(&c->addr, path, strlen(path))
		                   : unix_address(&c->addr, pairs[i]->name.name, pairs[i]->name.len);
		c->fd = pairs[i]->fds[0];
		c->what = pairs[i]->name.text;
	}
	return impersonate_connect_all(r, &pairs[0]->connects, calls, n, hidden ? usk_all(r)->scratch : -1);
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

/* Of one caller of connect(2) and one of listen(2), in one network namespace, all hidden or none. */
static int make_some(struct restore *r, struct temp_pair **pairs, size_t n)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit(r, pairs[0]->name.net_ns, &v);

	err = err ?: bind_listeners(r, pairs, n);
	err = err ?: listen_all(r, pairs, n);
	err = err ?: connect_all(r, pairs, n);
	/* They come in the order in which they were connected. */
	for (size_t i = 0; i < n && !err; i++) {
		pairs[i]->fds[1] = accept_ours(pairs[i]->listener, pairs[i]->fds[0], &pairs[i]->name);
		err = MIN(pairs[i]->fds[1], 0);
	}
	return err;
}

static bool goes_with(const struct temp_pair *a, const struct temp_pair *b)
{
	return a->listener->hidden == b->listener->hidden && a->name.net_ns == b->name.net_ns &&
	       unix_creds_equal(&a->connects, &b->connects) && unix_creds_equal(&a->listens, &b->listens);
}

int unix_temp_connect_many(struct restore *r, struct temp_pair *pairs, size_t n)
{
	struct temp_pair *some[CONNECTIONS];
	int err = 0;

	for (size_t i = 0; i < n && !err; i++)
		err = find_listener(r, &pairs[i].name, &pairs[i].listener);
	for (size_t i = 0; i < n && !err; i++) {
		size_t k = 0;

		for (size_t j = i; j < n && k < CONNECTIONS && pairs[i].fds[0] < 0; j++)
			if (pairs[j].fds[0] < 0 && goes_with(&pairs[i], &pairs[j]))
				some[k++] = &pairs[j];
		err = k ? make_some(r, some, k) : 0;
	}
	return err;
}

int unix_temp_connect(struct restore *r, const struct unix_name *n, const struct identity *connects,
                      const struct identity *listens, int fds[2])
{
	struct temp_pair p = { .name = *n, .connects = *connects, .listens = *listens, .fds = { -1, -1 } };
	int err = unix_temp_connect_many(r, &p, 1);

	fds[0] = p.fds[0];
	fds[1] = p.fds[1];
	return err;
}
