/* SPDX-License-Identifier: GPL-2.0-only */
/* Whether the unix sockets of a checkpoint can come back; nothing was started yet. */
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>

#include "options/inherited.h"
#include "helper/ns_roots.h"
#include "lib/log.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_embryo.h"
#include "sock/unix/unix_name.h"
#include "sock/unix/unix_restore.h"
#include "tree/subsys.h"

static const char *check_form(const struct usk *u)
{
	const UnixSkEntry *m = u->m;

	if (m->type != SOCK_STREAM && m->type != SOCK_DGRAM && m->type != SOCK_SEQPACKET)
		return "unix sockets have no such type";
	if (m->state != TCP_ESTABLISHED && m->state != TCP_LISTEN && m->state != TCP_CLOSE)
		return "unix sockets have no such state";
	if (m->name.len > SOCKET_NAME_MAX)
		return "its name is longer than a unix socket can have";
	if (usk_is_path(u) && u->name_len + 1 < m->name.len)
		return "its path contains a zero byte";
	if (usk_is_path(u) && u->name_len > sizeof(((struct sockaddr_un *)0)->sun_path))
		return "its path is longer than a unix socket can have";
	if (m->state == TCP_LISTEN && (!u->name || m->type == SOCK_DGRAM))
		return "it listens without a name, or is a datagram socket that listens";
	if (m->has_peer_name && (!m->peer_name.len || m->peer_name.len > SOCKET_NAME_MAX))
		return "the name of its peer is empty or longer than a unix socket can have";
	if (m->has_shutdown && (m->shutdown < 0 || m->shutdown > 3))
		return "its shutdown state is not valid";
	return unix_embryo_check(m);
}

static const char *check_stream_peer(struct restore *r, const struct usk *u)
{
	const struct usk *peer = u->peer;

	if (u->m->state != TCP_ESTABLISHED || !u->m->peer)
		return NULL;
	if (!peer)
		return arena_printf(
		    r->arena,
		    "it is connected to a socket (%u) outside of the checkpoint; give a connected one with "
		    "--inherit-fd 'fd[N]:socket:[%u]'",
		    u->m->peer, u->ino);
	if (peer->m->type != u->m->type || peer == u || (peer->m->state != TCP_LISTEN && peer->peer != u))
		return arena_printf(r->arena, "its peer (%u) is not a socket that it can be connected to", u->m->peer);
	return NULL;
}

static const char *check_outside_peer(struct restore *r, const struct usk *to)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	socklen_t len;

	if (!to->name)
		return "its peer outside of the checkpoint has no name to be found by";
	len = unix_address(&a, to->name, to->name_len);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, len))
		return arena_printf(r->arena, "its peer outside of the checkpoint cannot be connected to: %s: %s",
		                    to->text, strerror(errno));
	return NULL;
}

static const char *check_dgram_peer(struct restore *r, const struct usk *u)
{
	if (!u->m->peer)
		return NULL;
	if (!u->peer)
		return arena_printf(r->arena, "it is connected to a socket (%u) that is not in the checkpoint",
		                    u->m->peer);
	if (u->peer->m->type != SOCK_DGRAM)
		return arena_printf(r->arena, "its peer (%u) is not a datagram socket", u->m->peer);
	return u->peer->m->uflags & USK_EXTERN ? check_outside_peer(r, u->peer) : NULL;
}

static const char *check_socket_file(struct restore *r, const struct usk *u)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const char *dir, *base;
	_cleanup_close_ int fd = -1;
	int err;

	if (!unix_name_place(r->arena, u->m, u->name, &dir, &base))
		return NULL;             /* it goes into the scratch root */
	if (ns_roots_is_future(r, u->m)) /* looked at when the name is bound */
		return NULL;
	lookup_in(ns_roots_of_message(r, u->m));
	fd = lookup_open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return arena_printf(r->arena, "the folder of its socket file, %s: %s", dir, strerror(errno));
	do
		err = unix_name_taken(fd, base);
	while (unix_bind_again(r, err));
	if (!err || err == -ENOENT)
		return NULL;
	return arena_printf(r->arena, "%s/%s: %s", dir, base,
	                    err == -EADDRINUSE ? "another socket has this name now"
	                    : err == -EEXIST   ? "a file that is not a socket has this name now"
	                                       : strerror(-err));
}

static const char *check_abstract(struct restore *r, const struct usk *u)
{
	struct sockaddr_un a;
	socklen_t len = unix_address(&a, u->name, u->name_len);
	int err;

	do {
		_cleanup_close_ int fd = socket(AF_UNIX, (int)u->m->type | SOCK_CLOEXEC, 0);

		err = fd >= 0 && bind(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	} while (unix_bind_again(r, err));
	if (err == -EADDRINUSE)
		return arena_printf(r->arena, "%s: another socket has this abstract name now", u->text);
	return NULL;
}

static const char *check_name(struct restore *r, const struct usk *u)
{
	if (!u->name || (u->m->state == TCP_ESTABLISHED && !usk_is_dgram(u)))
		return NULL;
	if (!usk_is_path(u)) /* in a new network namespace all of them are free */
		return u->net_ns ? NULL : check_abstract(r, u);
	return u->m->deleted ? NULL : check_socket_file(r, u);
}

/* Whether the descriptor of --inherit-fd is such a socket. */
static const char *check_inherited(struct restore *r, const struct usk *u)
{
	const char *resource = arena_printf(r->arena, "socket:[%u]", u->ino);
	int fd = inherited_fd(r->opts, resource), domain = -1, type = -1;
	socklen_t len = sizeof(int);

	if (u->m->uflags & USK_CALLBACK)
		return subsys_externals()->opens_unix_sockets(r)
		           ? NULL
		           : "it was saved by a plugin, and none is loaded that restores unix sockets; give the "
		             "directory that has it with --libdir (-L)";
	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	    !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && domain == AF_UNIX && type == (int)u->m->type)
		return NULL;
	return arena_printf(r->arena, "--inherit-fd fd[%d]:%s: not a unix socket of the same type (%s)", fd, resource,
	                    u->m->type == SOCK_STREAM  ? "stream"
	                    : u->m->type == SOCK_DGRAM ? "datagram"
	                                               : "seqpacket");
}

int unix_check(struct restore *r, const void *msg, const char **why)
{
	const UnixSkEntry *m = msg;
	const struct usk *u = usk_find(usk_all(r), m->ino);

	if (!u)
		*why = "it has no inode";
	else
		*why = check_form(u);
	if (*why)
		return -EBADMSG;
	if (u->inherited) {
		*why = check_inherited(r, u);
		return *why ? -EINVAL : 0;
	}
	if (m->uflags & USK_INHERIT)
		*why =
		    arena_printf(r->arena, "it was dumped as external: give --inherit-fd 'fd[N]:socket:[%u]'", m->ino);
	if (!*why)
		*why = usk_is_dgram(u) ? check_dgram_peer(r, u) : check_stream_peer(r, u);
	if (!*why)
		*why = check_name(r, u);
	return *why ? -EINVAL : 0;
}
