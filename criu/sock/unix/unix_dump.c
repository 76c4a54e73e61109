/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at dump: what one of them says of itself. */
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "options/external.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix.h"
#include "sock/unix/unix_dump.h"

struct unix_dump *unix_dump_of(struct dump *d)
{
	return dump_state(d, &unix_kind);
}

/*
 * The kernel shows the pid as we see it. That of a task of the tree is known in its own namespace too; where the tree
 * has no other namespace, so is that of one that is gone.
 */
static uint32_t pid_in_tree(struct dump *d, pid_t pid, const char *who)
{
	struct unix_dump *all = unix_dump_of(d);
	const struct task *root = d->tree.tasks[0];
	struct unix_pid *p;

	for (size_t i = all->pids ? d->tree.n_tasks : 0; i < d->tree.n_tasks; i++) {
		p = arena_new_of(d->arena, struct unix_pid);
		*p = (struct unix_pid) { .pid = d->tree.tasks[i]->pid, .vpid = d->tree.tasks[i]->vpid };
		HASH_ADD_IN(d->arena, hh, all->pids, pid, sizeof(pid), p);
	}
	HASH_FIND(hh, all->pids, &pid, sizeof(pid), p);
	if (p)
		return (uint32_t)p->vpid.v;
	if (root->pid == root->vpid.v)
		return (uint32_t)pid;
	log_warn(
	    "%s: its peer's credentials (SO_PEERCRED) name pid %d, which is gone, and its number in the namespace of "
	    "the tree cannot be told",
	    who, pid);
	return 0;
}

static int dump_groups(struct dump *d, const struct fd_info *info, UnixSkEntry *m)
{
	uint32_t few[64], *groups = few;
	socklen_t len = sizeof(few);

	if (getsockopt(info->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len)) {
		if (errno == ENODATA || errno == ENOPROTOOPT || errno == EOPNOTSUPP)
			return 0;
		if (errno != ERANGE)
			return log_errno(-errno, "%s: SO_PEERGROUPS", fd_name(info));
		groups = arena_alloc(d->arena, len);
		if (getsockopt(info->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
			return log_errno(-errno, "%s: SO_PEERGROUPS of %u bytes", fd_name(info), (unsigned)len);
	}
	m->n_cred_groups = len / sizeof(*groups);
	m->cred_groups = arena_memdup(d->arena, groups, len);
	return 0;
}

static int dump_creds(struct dump *d, const struct fd_info *info, const char *who, UnixSkEntry *m)
{
	struct ucred c;
	socklen_t len = sizeof(c);

	if (getsockopt(info->fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
		return log_errno(-errno, "%s: SO_PEERCRED", who);
	if (c.uid == (uid_t)-1)
		return 0;
	m->has_cred_pid = m->has_cred_uid = m->has_cred_gid = true;
	m->cred_pid = c.pid ? pid_in_tree(d, c.pid, who) : 0;
	m->cred_uid = c.uid;
	m->cred_gid = c.gid;
	return dump_groups(d, info, m);
}

/* An error that waits is taken by reading it (SO_ERROR), but poll(2) shows that there is one. */
static void dump_error(const struct fd_info *info, const char *who, UnixSkEntry *m)
{
	struct pollfd p = { .fd = info->fd };

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLERR))
		return;
	if (m->type == SOCK_DGRAM) {
		log_warn("%s: an error (ECONNRESET) waits for its next call; a restored datagram socket has none", who);
		return;
	}
	m->has_error = true;
	m->error = ECONNRESET;
}

static void ask_peername(struct dump *d, int fd, struct unix_seen *u)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a), head = offsetof(struct sockaddr_un, sun_path);

	u->has_peer = !getpeername(fd, (struct sockaddr *)&a, &len);
	if (!u->has_peer || len <= head)
		return;
	u->peername.len = MIN(len, sizeof(a)) - head;
	u->peername.data = arena_memdup(d->arena, a.sun_path, u->peername.len);
}

static struct unix_seen *add_seen(struct dump *d, const struct fd_info *info, const struct diag_unix *diag,
                                  UnixSkEntry *m)
{
	struct unix_dump *all = unix_dump_of(d);
	struct unix_seen *u = arena_new_of(d->arena, struct unix_seen);
	char resource[32];

	u->ino = (uint32_t)info->st.st_ino;
	u->m = m;
	u->diag = diag;
	u->task = info->task;
	u->who = arena_strdup(d->arena, fd_name(info));
	ask_peername(d, info->fd, u);
	snprintf(resource, sizeof(resource), "socket:[%u]", u->ino);
	u->handed = external_named(d->opts, resource);
	if (ioctl(info->fd, SIOCOUTQ, &u->unread))
		u->unread = 0;
	HASH_ADD_IN(d->arena, hh, all->by_ino, ino, sizeof(u->ino), u);
	return u;
}

/*
 * The kernel also calls a datagram socket connected that somebody else is connected to. One that is so itself has a
 * peer's name to show, even if the peer is gone.
 */
static uint32_t state_of(const struct diag_unix *diag, int fd)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	if (diag->type == SOCK_DGRAM && diag->state == TCP_ESTABLISHED &&
	    getpeername(fd, (struct sockaddr *)&a, &len) && errno == ENOTCONN)
		return TCP_CLOSE;
	return diag->state;
}

static void fill(const struct unix_seen *u, int fd, UnixSkEntry *m)
{
	const struct diag_unix *diag = u->diag;

	m->ino = u->ino;
	m->type = diag->type;
	m->state = state_of(diag, fd);
	m->backlog = diag->state == TCP_LISTEN ? diag->wqueue : 0;
	m->peer = diag->peer;
	if (u->handed)
		m->uflags |= USK_INHERIT;
	if (diag->shutdown & 3) {
		m->has_shutdown = true;
		m->shutdown = (SkShutdown)(diag->shutdown & 3);
	}
	if (u->task->ids && u->task->ids->has_net_ns_id) {
		m->has_ns_id = true;
		m->ns_id = u->task->ids->net_ns_id;
	}
}

int unix_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	const struct diag_unix *diag;
	UnixSkEntry *m = msg;
	struct unix_seen *u;
	int err = diag_find_unix(d, info->fd, &diag);

	if (err == -ENOENT) {
		log_refusal(
		    err,
		    "%s: %s: a unix socket of another network namespace, which the tool does not see; run it there",
		    fd_name(info), info->link);
		return DUMP_REFUSED;
	}
	if (err)
		return err;
	u = add_seen(d, info, diag, m);
	fill(u, info->fd, m);
	err = sock_opts_dump(d->arena, info, &m->opts);
	if (!err)
		err = unix_name_dump(d, u, info->fd);
	if (!err)
		err = dump_creds(d, info, u->who, m);
	if (err)
		return err;
	dump_error(info, u->who, m);
	if (m->state != TCP_LISTEN && !u->handed)
		err = queue_dump(d, info, info->id, (int)m->type);
	return err ?: DUMP_LATER;
}
