/* SPDX-License-Identifier: GPL-2.0-only */
/* Unix sockets of a checkpoint: who is whose peer, and whether all can come back. */
#include <ctype.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>

#include "options/inherited.h"
#include "lib/log.h"
#include "sock/queue.h"
#include "sock/unix/unix.h"
#include "sock/unix/unix_restore.h"

/* A path of 108 bytes and the zero that the kernel shows behind it. */
#define NAME_MAX_LEN 109

struct unix_restore *unix_restore_of(struct restore *r)
{
	struct unix_restore *all = restore_state(r, &unix_kind);

	if (!all->used)
		all->scratch = -1;
	all->used = true;
	return all;
}

struct usk *usk_find(struct unix_restore *all, uint32_t ino)
{
	struct usk *u = NULL;

	if (ino)
		HASH_FIND(hh, all->by_ino, &ino, sizeof(ino), u);
	return u;
}

/* Type and name as one key. */
static size_t key_of(char *key, uint32_t type, const void *name, size_t len)
{
	key[0] = (char)type;
	memcpy(key + 1, name, len);
	return len + 1;
}

struct usk *usk_named(struct unix_restore *all, uint32_t type, const void *name, size_t len)
{
	char key[NAME_MAX_LEN + 1];
	struct usk *u;

	if (len && ((const char *)name)[0])
		len = strnlen(name, len);
	if (!len || len > NAME_MAX_LEN)
		return NULL;
	len = key_of(key, type, name, len);
	HASH_FIND(hh_name, all->by_name, key, len, u);
	return u;
}

static const char *text_of(struct arena *a, const struct usk *u)
{
	char *text = arena_printf(a, "unix socket %u%s%.*s%s", u->m->id, u->name ? " (" : "", (int)u->name_len,
	                          u->name ?: "", u->name ? ")" : "");

	if (u->name && !u->name[0]) { /* abstract names may have any bytes */
		char *shown = arena_memdup(a, u->name, u->name_len + 1);

		for (size_t i = 0; i < u->name_len; i++)
			if (!isprint((unsigned char)shown[i]))
				shown[i] = i ? '.' : '@';
		text = arena_printf(a, "unix socket %u (%s)", u->m->id, shown);
	}
	return text;
}

static int add_one(struct restore *r, const void *msg, void *arg)
{
	struct unix_restore *all = arg;
	const UnixSkEntry *m = msg;
	struct usk *u = arena_new_of(r->arena, struct usk), *other;
	char key[NAME_MAX_LEN + 1];
	size_t len;
	bool bound;

	*u = (struct usk) { .m = m, .ino = m->ino, .fd = -1, .temp = -1, .undo = -1 };
	if (m->name.len && m->name.len <= NAME_MAX_LEN) {
		u->name = arena_memdup(r->arena, m->name.data, m->name.len + 1);
		((char *)u->name)[m->name.len] = 0;
		u->name_len = u->name[0] ? strlen(u->name) : m->name.len;
	}
	u->text = text_of(r->arena, u);
	HASH_FIND(hh, all->by_ino, &u->ino, sizeof(u->ino), other);
	if (other)
		return log_errno(-EBADMSG, "files.img: unix sockets %u and %u have the same inode %u", other->m->id,
		                 m->id, u->ino);
	HASH_ADD_IN(r->arena, hh, all->by_ino, ino, sizeof(u->ino), u);
	/* Connected ones may have their listener's name. */
	bound = u->name && (m->type == SOCK_DGRAM || m->state != TCP_ESTABLISHED) && !(m->uflags & USK_EXTERN);
	if (!bound || usk_named(all, m->type, u->name, u->name_len))
		return 0;
	len = key_of(key, m->type, u->name, u->name_len);
	HASH_ADD_KEYPTR_IN(r->arena, hh_name, all->by_name, arena_memdup(r->arena, key, len), len, u);
	return 0;
}

int unix_read_images(struct restore *r)
{
	struct unix_restore *all = unix_restore_of(r);
	int err = queue_read_images(r);

	if (!err)
		err = files_all(r, &unix_kind, add_one, all);
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next) {
		char resource[32];

		snprintf(resource, sizeof(resource), "socket:[%u]", u->ino);
		u->peer = usk_find(all, u->m->peer);
		u->handed = inherited_fd(r->opts, resource) >= 0;
	}
	return err;
}

/* ---- checks: nothing was started yet ---- */

static const char *check_form(const struct usk *u)
{
	const UnixSkEntry *m = u->m;

	if (m->type != SOCK_STREAM && m->type != SOCK_DGRAM && m->type != SOCK_SEQPACKET)
		return "its type is none of unix sockets";
	if (m->state != TCP_ESTABLISHED && m->state != TCP_LISTEN && m->state != TCP_CLOSE)
		return "its state is none of unix sockets";
	if (m->name.len > NAME_MAX_LEN)
		return "its name is longer than a unix socket's can be";
	if (usk_is_path(u) && u->name_len + 1 < m->name.len)
		return "there is a zero byte in its path";
	if (usk_is_path(u) && u->name_len > sizeof(((struct sockaddr_un *)0)->sun_path))
		return "its path is longer than a unix socket's can be";
	if (m->state == TCP_LISTEN && (!u->name || m->type == SOCK_DGRAM))
		return "it listens without a name, or is a datagram socket that listens";
	if (m->has_peer_name && (!m->peer_name.len || m->peer_name.len > NAME_MAX_LEN))
		return "the name of its peer is longer than a unix socket's can be";
	if (m->has_shutdown && (m->shutdown < 0 || m->shutdown > 3))
		return "it is shut in a way that there is not";
	return NULL;
}

static const char *check_stream_peer(struct restore *r, const struct usk *u)
{
	const struct usk *peer = u->peer;

	if (u->m->state != TCP_ESTABLISHED || !u->m->peer)
		return NULL;
	if (!peer)
		return arena_printf(
		    r->arena,
		    "it is connected to a socket (%u) outside of the checkpoint; hand a connected one in with "
		    "--inherit-fd 'fd[N]:socket:[%u]'",
		    u->m->peer, u->ino);
	if (peer->m->type != u->m->type || peer == u || (peer->m->state != TCP_LISTEN && peer->peer != u))
		return arena_printf(r->arena, "its peer (%u) is none that it could be connected to", u->m->peer);
	return NULL;
}

static const char *check_extern(struct restore *r, const struct usk *to)
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
		return arena_printf(r->arena, "its peer (%u) is no datagram socket", u->m->peer);
	return u->peer->m->uflags & USK_EXTERN ? check_extern(r, u->peer) : NULL;
}

/*
 * A socket that lay in a queue which only sockets in queues lead to outlives its processes: the kernel finds it soon
 * after (net/unix/garbage.c; whenever a unix socket is closed, it looks). So a name that is taken may be free in a
 * moment.
 */
bool unix_free_soon(struct restore *r, int err)
{
	struct timespec t = { .tv_nsec = 10000000 };

	if (err != -EADDRINUSE || unix_restore_of(r)->waited >= 100)
		return false;
	unix_restore_of(r)->waited++;
	nanosleep(&t, NULL);
	return true;
}

static const char *check_file(struct restore *r, const struct usk *u)
{
	const char *dir, *base;
	_cleanup_close_ int fd = -1;
	int err;

	if (!unix_place(r->arena, u->m, u->name, &dir, &base))
		return NULL; /* it goes into the scratch root */
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return arena_printf(r->arena, "the folder of its socket file, %s: %s", dir, strerror(errno));
	do
		err = unix_taken(fd, base);
	while (unix_free_soon(r, err));
	if (!err || err == -ENOENT)
		return NULL;
	return arena_printf(r->arena, "%s/%s: %s", dir, base,
	                    err == -EADDRINUSE ? "another socket that lives has this name now"
	                    : err == -EEXIST   ? "a file that is no socket has this name now"
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
	} while (unix_free_soon(r, err));
	if (err == -EADDRINUSE)
		return arena_printf(r->arena, "%s: another socket has this abstract name now", u->text);
	return NULL;
}

static const char *check_name(struct restore *r, const struct usk *u)
{
	if (!u->name || (u->m->state == TCP_ESTABLISHED && u->m->type != SOCK_DGRAM))
		return NULL;
	if (!usk_is_path(u))
		return check_abstract(r, u);
	return u->m->deleted ? NULL : check_file(r, u);
}

/* What --inherit-fd hands in for it. */
static const char *check_handed(struct restore *r, const struct usk *u)
{
	const char *resource = arena_printf(r->arena, "socket:[%u]", u->ino);
	int fd = inherited_fd(r->opts, resource), domain = -1, type = -1;
	socklen_t len = sizeof(int);

	if (!getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	    !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) && domain == AF_UNIX && type == (int)u->m->type)
		return NULL;
	return arena_printf(r->arena, "--inherit-fd fd[%d]:%s: no unix socket of the type that it was (%s)", fd,
	                    resource,
	                    u->m->type == SOCK_STREAM  ? "stream"
	                    : u->m->type == SOCK_DGRAM ? "datagram"
	                                               : "seqpacket");
}

int unix_check(struct restore *r, const void *msg, const char **why)
{
	const UnixSkEntry *m = msg;
	const struct usk *u = usk_find(unix_restore_of(r), m->ino);

	if (!u)
		*why = "it has no inode";
	else
		*why = check_form(u);
	if (*why)
		return -EBADMSG;
	if (u->handed) {
		*why = check_handed(r, u);
		return *why ? -EINVAL : 0;
	}
	if (m->uflags & USK_INHERIT)
		*why =
		    arena_printf(r->arena, "it is to come from outside: give --inherit-fd 'fd[N]:socket:[%u]'", m->ino);
	if (!*why)
		*why = m->type == SOCK_DGRAM ? check_dgram_peer(r, u) : check_stream_peer(r, u);
	if (!*why)
		*why = check_name(r, u);
	return *why ? -EINVAL : 0;
}
