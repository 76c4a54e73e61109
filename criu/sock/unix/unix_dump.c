/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets at dump: what one of them tells by itself. */
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "files/net_ns.h"
#include "options/external.h"
#include "lib/log.h"
#include "sock/opts_view.h"
#include "sock/queue.h"
#include "sock/unix/unix_client.h"
#include "sock/unix/unix_creds.h"
#include "sock/unix/unix_dump.h"
#include "sock/unix/unix_embryo.h"
#include "sock/unix/unix_name.h"
#include "tree/foresee.h"
#include "tree/subsys.h"

const struct subsys unix_dump_subsys = { .name = "unix sockets at dump",
	                                 .state = { .dump = sizeof(struct unix_dump) } };

struct unix_dump *unix_dump_table(struct dump *d)
{
	return dump_state(d, &unix_dump_subsys);
}

/* To read a pending error (SO_ERROR) would clear it; poll(2) shows that one is pending. */
static void dump_error(const struct fd_info *info, const char *who, UnixSkEntry *m)
{
	struct pollfd p = { .fd = info->fd };

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLERR))
		return;
	if (m->type == SOCK_DGRAM) {
		log_warn("%s: an error (ECONNRESET) is pending; a restored datagram socket has none", who);
		return;
	}
	m->has_error = true;
	m->error = ECONNRESET;
}

static void read_peername(struct dump *d, int fd, struct unix_seen *u)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a), head = offsetof(struct sockaddr_un, sun_path);

	u->has_peer = !getpeername(fd, (struct sockaddr *)&a, &len);
	if (!u->has_peer || len <= head)
		return;
	u->peername.len = MIN(len, sizeof(a)) - head;
	u->peername.data = arena_memdup(d->arena, a.sun_path, u->peername.len);
}

/* By its own name; a connected stream also as unix[INODE], of itself or of its peer. */
static bool is_external(const struct options *o, uint32_t ino, const struct diag_unix *diag)
{
	char resource[32];

	snprintf(resource, sizeof(resource), "socket:[%u]", ino);
	if (external_named(o, resource))
		return true;
	if (diag->type == SOCK_DGRAM || diag->state != TCP_ESTABLISHED)
		return false;
	snprintf(resource, sizeof(resource), "unix[%u]", ino);
	if (external_named(o, resource))
		return true;
	snprintf(resource, sizeof(resource), "unix[%u]", diag->peer);
	return diag->peer && external_named(o, resource);
}

static struct unix_seen *add_seen(struct dump *d, const struct fd_info *info, const struct diag_unix *diag,
                                  UnixSkEntry *m)
{
	struct unix_dump *all = unix_dump_table(d);
	struct unix_seen *u = arena_new_of(d->arena, struct unix_seen);

	u->ino = (uint32_t)info->st.st_ino;
	u->m = m;
	u->diag = diag;
	u->task = info->task;
	u->number = info->number;
	u->who = arena_strdup(d->arena, fd_name(info));
	read_peername(d, info->fd, u);
	u->external = is_external(d->opts, u->ino, diag);
	if (ioctl(info->fd, SIOCOUTQ, &u->unread))
		u->unread = 0;
	HASH_ADD_IN(d->arena, hh, all->by_ino, ino, sizeof(u->ino), u);
	return u;
}

/*
 * A connected datagram socket is shown as closed once another one that was connected to it has gone elsewhere; CRIU
 * goes by the state. (It is also shown as connected because another one is connected to it.)
 */
static uint32_t state_of_unix(const struct diag_unix *diag)
{
	return diag->type == SOCK_DGRAM && diag->peer ? TCP_ESTABLISHED : diag->state;
}

static void fill_entry(const struct unix_seen *u, UnixSkEntry *m)
{
	const struct diag_unix *diag = u->diag;

	m->ino = u->ino;
	m->type = diag->type;
	m->state = state_of_unix(diag);
	m->backlog = diag->state == TCP_LISTEN ? diag->wqueue : 0;
	m->peer = diag->peer;
	if (u->external)
		m->uflags |= USK_INHERIT;
	if (diag->shutdown & 3) {
		m->has_shutdown = true;
		m->shutdown = (SkShutdown)(diag->shutdown & 3);
	}
}

/* The file of its name is made again in its folder. */
static int foresee_file(struct dump *d, const struct fd_info *info, const UnixSkEntry *m)
{
	const char *dir, *base, *name = arena_printf(d->arena, "%.*s", (int)m->name.len, m->name.data);
	int err = 0;

	if (m->name.len && name[0] && !m->deleted && (m->type == SOCK_DGRAM || m->state != TCP_ESTABLISHED) &&
	    unix_name_place(d->arena, m, name, &dir, &base))
		err = foresee_make(d, dir) ?: foresee_open(d, arena_printf(d->arena, "%s/%s", dir, base), O_WRONLY);
	if (!err)
		return 0;
	return foresee_refuse(d, err,
	                      "%s: the file of its name, %s/%s, or its folder, is one to which criu may not write, so "
	                      "that a restore cannot make it: dump and restore as root",
	                      fd_name(info), dir, base)
	           ? DUMP_REFUSED
	           : 0;
}

int unix_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	const struct diag_unix *diag;
	UnixSkEntry *m = msg;
	struct unix_seen *u;
	int err = diag_find_unix(d, info->fd, &diag);

	if (err == -ENOENT)
		return log_errno(err, "%s: %s: the kernel does not list this unix socket", fd_name(info), info->link);
	if (err)
		return err;
	err = net_ns_home_dumped(d, &v); /* its file and its peer have owners */
	if (err)
		return err;
	u = add_seen(d, info, diag, m);
	fill_entry(u, m);
	if (diag->state == TCP_LISTEN && diag->n_icons && !u->external)
		unix_embryo_look(d, u, info->fd);
	err = sock_opts_view_dump(d, info, &m->opts);
	if (err)
		return err;
	unix_name_dump(d, u, info->fd);
	err = unix_creds_dump(d, info, m);
	if (err)
		return err;
	dump_error(info, u->who, m);
	err = u->external ? 0 : foresee_file(d, info, m);
	if (!err && m->state != TCP_LISTEN && !u->external)
		err = queue_dump(d, info, info->id, (int)m->type);
	if (!err && unix_client_asked(d, diag->peer))
		err = unix_client_answer(d, info->id);
	return err ?: DUMP_LATER;
}
