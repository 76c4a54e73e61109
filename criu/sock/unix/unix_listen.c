/* SPDX-License-Identifier: GPL-2.0-only */
/* Listening unix sockets at restore, and the clients that wait in their queues to be accepted. */
#include <netinet/tcp.h>

#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_embryo.h"
#include "sock/unix/unix_restore.h"

static int backlog_of(const struct usk *l)
{
	return l->m->backlog > INT32_MAX ? INT32_MAX : (int)l->m->backlog;
}

bool unix_listen_is_client(const struct usk *u)
{
	return !usk_is_dgram(u) && u->m->state == TCP_ESTABLISHED && u->peer && u->peer->m->state == TCP_LISTEN;
}

/* A client that is still to be put into the queue of its listener. */
static bool can_queue(const struct usk *u)
{
	return u->use != USE_NONE && u->made != MADE_NOT_YET && unix_listen_is_client(u) && u->link == LINK_NONE;
}

static int connect_waiting(struct restore *r, const struct usk *l, const struct identity *as, int fd)
{
	struct sockaddr_un a;
	socklen_t len;
	bool own;
	int dir, err = unix_bind_address(usk_all(r), l, &a, &len, &dir, &own);

	if (err)
		return err;
	err = impersonate_connect(r, as, fd, dir, &a, len, l->text);
	if (own)
		close(dir);
	return err;
}

#define ON_NO_LIST SIZE_MAX

/* number: in the listener's list. */
static int queue_client(struct restore *r, const struct usk *l, size_t number, struct usk *client)
{
	struct identity as;
	int err = usk_set_link(client, LINK_DONE);

	if (!unix_embryo_connector(l->m, number, &as))
		as = unix_creds_connector(client->m);
	err = err ?: connect_waiting(r, l, &as, client->fd);
	return err ?: unix_embryo_send(r, l->m, number, client->fd, client->text);
}

/* A client that is gone: what it left in the queue is a connection that has ended. */
static int queue_gone_client(struct restore *r, const struct usk *l, size_t number)
{
	_cleanup_close_ int fd = socket(AF_UNIX, (int)l->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct identity as;
	int err;

	if (fd < 0)
		return log_errno(-errno, "%s: socket(AF_UNIX) of a temporary client", l->text);
	if (!unix_embryo_connector(l->m, number, &as))
		as = unix_creds_ours();
	err = connect_waiting(r, l, &as, fd);
	return err ?: unix_embryo_send(r, l->m, number, fd, l->text);
}

static int queue_waiting(struct restore *r, struct usk *l)
{
	struct unix_restore *all = usk_all(r);
	int err = 0;

	for (size_t i = 0; l->link == LINK_LISTENING && i < l->m->n_waiting && !err; i++) {
		struct usk *client = usk_find(all, l->m->waiting[i]);

		if (!client)
			err = queue_gone_client(r, l, i);
		else if (can_queue(client) && client->peer == l)
			err = queue_client(r, l, i, client);
	}
	return err;
}

static bool is_listener(const struct usk *u)
{
	return u->m->state == TCP_LISTEN && !u->inherited && u->use != USE_NONE && u->link == LINK_NONE;
}

/* A backlog can be made smaller than the number of those that wait already. */
static struct listen_call plan_listen(const struct usk *l)
{
	int waiting = (int)MIN(l->incoming + l->m->n_waiting, 4096UL);

	return (struct listen_call) { l->fd, MAX(backlog_of(l), waiting), l->text };
}

/* All that the same process let listen as the first of them. */
static int listen_some(struct restore *r, struct usk **list, size_t n)
{
	struct listen_call *calls = arena_array(r->arena, struct listen_call, n);
	struct identity as = unix_creds_of(list[0]->m), other;
	size_t k = 0;
	int err = 0;

	for (size_t i = 0; i < n && !err; i++) {
		other = unix_creds_of(list[i]->m);
		if (!is_listener(list[i]) || !unix_creds_equal(&as, &other))
			continue;
		calls[k++] = plan_listen(list[i]);
		err = usk_set_link(list[i], LINK_LISTENING);
	}
	return err ?: impersonate_listen_all(r, &as, calls, k);
}

int unix_listen_portion(struct restore *r)
{
	const struct unix_restore *all = usk_all(r);
	int err = 0;

	for (size_t i = 0; i < all->n_portion && !err; i++)
		if (is_listener(all->portion[i]))
			err = listen_some(r, all->portion + i, all->n_portion - i);
	return err ?: usk_each(r, queue_waiting);
}

int unix_listen_client(struct restore *r, struct usk *u)
{
	if (!can_queue(u) || u->inherited)
		return 0;
	if (u->peer->link != LINK_LISTENING)
		return log_errno(-EINVAL, "%s: its listener (%s) does not listen", u->text, u->peer->text);
	return queue_client(r, u->peer, ON_NO_LIST, u);
}

int unix_listen_finish(struct restore *r, struct usk *l)
{
	struct identity as = unix_creds_of(l->m);
	int err = 0;

	if (l->link == LINK_LISTENING && (l->incoming || l->m->n_waiting))
		err = impersonate_listen(r, &as, l->fd, backlog_of(l), l->text);
	return err;
}
