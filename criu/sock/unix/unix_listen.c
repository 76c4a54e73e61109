/* SPDX-License-Identifier: GPL-2.0-only */
/* Listening unix sockets at restore, and the clients that wait in their queues to be accepted. */
#include <netinet/tcp.h>

#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_creds.h"
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
	err = impersonate_connect(r, as, fd, dir, (struct sockaddr *)&a, len, l->text);
	if (own)
		close(dir);
	return err;
}

static int queue_client(struct restore *r, const struct usk *l, struct usk *client)
{
	struct identity as = unix_creds_connector(client->m);
	int err = usk_set_link(client, LINK_DONE);

	return err ?: connect_waiting(r, l, &as, client->fd);
}

/* A client that is gone: what it left in the queue is a connection that has ended. */
static int queue_gone_client(struct restore *r, const struct usk *l)
{
	_cleanup_close_ int fd = socket(AF_UNIX, (int)l->m->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct identity as = unix_creds_ours();

	return fd < 0 ? log_errno(-errno, "%s: socket(AF_UNIX) of a temporary client", l->text)
	              : connect_waiting(r, l, &as, fd);
}

int unix_listen(struct restore *r, struct usk *l)
{
	struct unix_restore *all = usk_all(r);
	const UnixSkEntry *m = l->m;
	struct identity as = unix_creds_of(m);
	int err;
	int waiting = (int)MIN(l->incoming + m->n_waiting, 4096UL);

	if (m->state != TCP_LISTEN || l->inherited)
		return 0;
	/* A backlog can be made smaller than the number of those that wait already. */
	err = impersonate_listen(r, &as, l->fd, MAX(backlog_of(l), waiting), l->text);
	for (size_t i = 0; i < m->n_waiting && !err; i++) {
		struct usk *client = usk_find(all, m->waiting[i]);

		if (!client)
			err = queue_gone_client(r, l);
		else if (can_queue(client) && client->peer == l)
			err = queue_client(r, l, client);
	}
	return err ?: usk_set_link(l, LINK_LISTENING);
}

int unix_listen_client(struct restore *r, struct usk *u)
{
	if (!can_queue(u) || u->inherited)
		return 0;
	if (u->peer->link != LINK_LISTENING)
		return log_errno(-EINVAL, "%s: its listener (%s) does not listen", u->text, u->peer->text);
	return queue_client(r, u->peer, u);
}

int unix_listen_finish(struct restore *r, struct usk *l)
{
	struct identity as = unix_creds_of(l->m);
	int err = 0;

	if (l->link == LINK_LISTENING && (l->incoming || l->m->n_waiting))
		err = impersonate_listen(r, &as, l->fd, backlog_of(l), l->text);
	return err;
}
