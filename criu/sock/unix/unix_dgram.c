/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Datagram sockets at restore: connecting them, and sending again what waits in their receive queues. recvfrom(2) shows
 * the name of the sender: a path can be bound by a temporary sender in the scratch root; an abstract name has one
 * owner, which has to send itself. A connected socket takes messages from its peer alone, so queues are filled before.
 */
#include <string.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/queue.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_restore.h"

/* ---- connecting ---- */

/* Connected to one that is gone. (The state does not tell: the kernel sets that of the other socket, too.) */
static bool is_peer_gone(const struct usk *u)
{
	return u->m->error == ECONNREFUSED;
}

static int undo_connect(const struct usk *u, int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	return connect(fd, &none, sizeof(none)) ? log_errno(-errno, "%s: connect(AF_UNSPEC)", u->text) : 0;
}

static int connect_by_fd(struct unix_restore *all, struct usk *u, int fd)
{
	struct usk *to = u->peer;
	struct sockaddr_un a;
	socklen_t len;
	int err = usk_set_link(u, LINK_DONE);

	if (err)
		return err;
	if (to->m->uflags & USK_EXTERN) {
		len = unix_address(&a, to->name, to->name_len);
		err = connect(fd, (struct sockaddr *)&a, len) ? -errno : 0;
	} else {
		err = unix_bind_connect(all, fd, to);
	}
	return err ? log_errno(err, "%s: connect to %s", u->text, to->text) : 0;
}

/* To a temporary peer, which is closed at once: the next send of the socket is refused, as before. */
static int connect_to_gone(struct restore *r, const struct usk *u, int fd)
{
	struct usk gone = { .m = u->m, .text = u->text, .name = (const char *)u->m->peer_name.data };
	_cleanup_close_ int ours = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(a);
	int err;

	if (ours < 0)
		return log_errno(-errno, "%s: socket(AF_UNIX) of a temporary peer", u->text);
	gone.name_len = u->m->has_peer_name ? u->m->peer_name.len : 0;
	if (gone.name_len && gone.name[0]) {
		err = unix_bind_scratch(usk_all(r), ours, gone.name, strnlen(gone.name, gone.name_len), &gone.scratch);
		err = err ?: usk_set_at(&gone, AT_SCRATCH);
		err = err ?: unix_bind_connect(usk_all(r), fd, &gone);
		return err ? log_errno(err, "%s: connect to a temporary peer", u->text) : 0;
	}
	err = gone.name_len ? unix_bind_temp(r, ours, gone.name, gone.name_len, u->text) : 0;
	if (err)
		return err;
	/* bind(2) without a name gets one from the kernel. EINVAL: it has one. */
	if (bind(ours, (struct sockaddr *)&a, sizeof(a.sun_family)) && errno != EINVAL)
		return log_errno(-errno, "%s: bind of a temporary peer", u->text);
	if (getsockname(ours, (struct sockaddr *)&a, &len))
		return log_errno(-errno, "%s: getsockname of a temporary peer", u->text);
	return connect(fd, (struct sockaddr *)&a, len) ? log_errno(-errno, "%s: connect to a temporary peer", u->text)
	                                               : 0;
}

static int connect_dgram(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = -1;
	int err;

	if (u->link == LINK_DONE)
		return 0;
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	if (u->peer)
		return connect_by_fd(usk_all(r), u, fd);
	err = usk_set_link(u, LINK_DONE);
	return err ?: is_peer_gone(u) ? connect_to_gone(r, u, fd) : 0;
}

/*
 * Halves of a socketpair(2) whose peer is another socket now, or none. Before their queues are filled: to disconnect
 * empties a queue. Those with a peer are connected when it is their turn.
 */
static int part_half(struct restore *r, struct usk *u)
{
	_cleanup_close_ int fd = -1;

	if (u->link != LINK_HALF || (!u->peer && is_peer_gone(u)))
		return 0; /* the other half, a temporary peer, is closed later */
	fd = files_borrow(r, u->m->id);
	if (fd < 0)
		return fd;
	return usk_set_link(u, u->peer ? LINK_PARTED : LINK_DONE) ?: undo_connect(u, fd);
}

static bool blocks_peer(const struct usk *u)
{
	return usk_is_dgram(u) && u->use != USE_NONE && u->link != LINK_DONE && u->peer && u->peer != u &&
	       u->peer->peer != u;
}

/* No socket can connect to one that is connected to another: those whose peer it is go first. */
int unix_dgram_connect_all(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	struct usk *next;
	int err = 0;

	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		u->before = 0;
	for (struct usk *u = all->by_ino; u; u = u->hh.next)
		if (blocks_peer(u))
			u->peer->before++;
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next) {
		for (struct usk *at = u; at && !err; at = next) {
			bool blocks = blocks_peer(at);

			next = NULL;
			if (!usk_is_dgram(at) || at->use == USE_NONE || at->inherited || at->before ||
			    at->link == LINK_DONE || at->link == LINK_HALF)
				continue;
			err = connect_dgram(r, at);
			if (blocks && --at->peer->before == 0)
				next = at->peer;
		}
	}
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->before && blocks_peer(u))
			err = log_errno(-EINVAL, "%s: image error: datagram sockets are connected in a cycle", u->text);
	return err;
}

/* ---- filling queues ---- */

/* Connects a sender to u. */
static int connect_sender(struct restore *r, const struct usk *u, int from)
{
	int err = unix_bind_connect(usk_all(r), from, u);

	return err ? log_errno(err, "%s: connect of a sender to it", u->text) : 0;
}

static int warn_lost_name(const struct usk *u, const char *name, size_t len)
{
	log_warn(
	    "%s: the sender of messages in its queue had the name %.*s, which another socket has now; they come from "
	    "a socket without a name",
	    u->text, (int)(name[0] ? len : len - 1), name[0] ? name : name + 1);
	return 0;
}

static int name_sender(struct restore *r, const struct usk *u, int fd, const char *name, size_t len)
{
	struct sockaddr_un a;
	socklen_t size = unix_address(&a, name, len);
	int err;

	do
		err = bind(fd, (struct sockaddr *)&a, size) ? -errno : 0;
	while (unix_bind_again(r, err));
	if (err == -EADDRINUSE)
		return warn_lost_name(u, name, len);
	return err ? log_errno(err, "%s: bind of a temporary sender", u->text) : 0;
}

/* A socket of ours with the name of the sender, connected to u. */
static int temp_sender(struct restore *r, const struct usk *u, const char *name, size_t len)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned number;
	int err = 0;

	if (fd < 0)
		return log_errno(-errno, "%s: socket(AF_UNIX) of a temporary sender", u->text);
	if (len && name[0])
		err = unix_bind_scratch(usk_all(r), fd, name, len, &number);
	else if (len)
		err = name_sender(r, u, fd, name, len);
	if (!err)
		err = connect_sender(r, u, fd);
	return err ?: move_fd(&fd);
}

/* The only socket that can have sent to one without a name. */
static struct usk *only_sender(const struct usk *u)
{
	return u->peer && u->peer->peer == u ? u->peer : u->from;
}

/* Whether the owner of an abstract name can be connected to u for a while, which would drop messages in its own queue.
 */
static bool owner_can_send(struct restore *r, const struct usk *owner)
{
	return owner && owner->use != USE_NONE && owner->made != MADE_NOT_YET && !owner->inherited &&
	       owner->link == LINK_NONE && (!owner->filled || !queue_count(r, owner->m->id));
}

static int send_by_owner(struct restore *r, const struct usk *u, const struct usk *owner, size_t first, size_t n)
{
	_cleanup_close_ int fd = files_borrow(r, owner->m->id);
	int err = fd < 0 ? fd : connect_sender(r, u, fd);

	if (!err)
		err = queue_send(r, u->m->id, first, n, fd);
	return err ?: undo_connect(owner, fd);
}

/* Gives the temporary peer of u the name of the one that is gone, when it has none yet. */
static int name_temp(struct restore *r, struct usk *u, const char *name, size_t len)
{
	int err;

	if (u->temp == TEMP_NAMED)
		return 0;
	err = usk_set_temp_named(u);
	return err ?: unix_bind_temp(r, u->temp_fd, name, len, u->text);
}

int unix_dgram_name_temp(struct restore *r, struct usk *u)
{
	const ProtobufCBinaryData *b = &u->m->peer_name;
	const char *name = (const char *)b->data;

	if (u->temp == TEMP_NONE || !is_peer_gone(u) || !u->m->has_peer_name || !b->len)
		return 0;
	return name_temp(r, u, name, name[0] ? strnlen(name, b->len) : b->len);
}

static int send_from_one(struct restore *r, struct usk *u, const char *name, size_t len, size_t first, size_t n)
{
	struct unix_restore *all = usk_all(r);
	struct usk *owner = len ? usk_find_name(all, u->net_ns, SOCK_DGRAM, name, len) : NULL;
	_cleanup_close_ int from = -1;
	int err;

	if (u->temp != TEMP_NONE) {
		err = len ? name_temp(r, u, name, len) : 0;
		return err ?: queue_send(r, u->m->id, first, n, u->temp_fd);
	}
	if (!owner && (u->at == AT_NOWHERE || u->made == MADE_HALF))
		owner = only_sender(u);
	if (owner && owner->peer == u && owner->use != USE_NONE) {
		err = connect_dgram(r, owner);
		from = err ? err : files_borrow(r, owner->m->id);
	} else if (len && !name[0] && owner_can_send(r, owner)) {
		return send_by_owner(r, u, owner, first, n);
	} else {
		from = temp_sender(r, u, name, len);
	}
	return from < 0 ? from : queue_send(r, u->m->id, first, n, from);
}

/* The name in the address of a message's sender: what stands behind the family. */
static const char *sender_name(struct restore *r, const struct usk *u, size_t n, size_t *len)
{
	const char *address = queue_sender(r, u->m->id, n, len);
	size_t head = offsetof(struct sockaddr_un, sun_path);

	*len = address && *len > head ? MIN(*len - head, sizeof(((struct sockaddr_un *)0)->sun_path)) : 0;
	if (*len && address[head])
		*len = strnlen(address + head, *len);
	return *len ? address + head : "";
}

/* Whether a message has a sender with an abstract name whose peer is another socket, or none. */
static bool needs_owner(struct restore *r, const struct usk *u)
{
	for (size_t i = 0, n = queue_count(r, u->m->id), len; i < n; i++) {
		const char *name = sender_name(r, u, i, &len);
		const struct usk *owner =
		    len && !name[0] ? usk_find_name(usk_all(r), u->net_ns, SOCK_DGRAM, name, len) : NULL;

		if (owner && owner->peer != u)
			return true;
	}
	return false;
}

static int fill_queue(struct restore *r, struct usk *u)
{
	size_t n = queue_count(r, u->m->id), first = 0, len, next_len;
	int err = 0;

	while (!err && first < n) {
		const char *name = sender_name(r, u, first, &len), *next;
		size_t count = 1;

		for (; first + count < n; count++) {
			next = sender_name(r, u, first + count, &next_len);
			if (next_len != len || memcmp(next, name, len))
				break;
		}
		err = send_from_one(r, u, name, len, first, count);
		first += count;
	}
	u->filled = true;
	return err;
}

/*
 * One whose peer is the other half of its socketpair(2), while the peer of that is another socket now: that half alone
 * can have sent the messages, and can send them again only before it is parted.
 */
static int fill_from_half(struct restore *r, struct usk *u)
{
	const struct usk *half = u->peer;
	size_t n = queue_count(r, u->m->id), len;
	_cleanup_close_ int from = -1;
	int err;

	if (!n || u->made != MADE_HALF || u->link != LINK_DONE || !half || half->link != LINK_HALF || half->peer == u)
		return 0;
	for (size_t i = 0; i < n; i++) {
		const char *name = sender_name(r, u, i, &len);

		if (len && (len != half->name_len || memcmp(name, half->name, len))) {
			warn_lost_name(u, name, len);
			break;
		}
	}
	from = files_borrow(r, half->m->id);
	err = from < 0 ? from : queue_send(r, u->m->id, 0, n, from);
	u->filled = true;
	return err;
}

static int fill_one(struct restore *r, struct usk *u)
{
	return usk_is_dgram(u) && !u->filled && queue_count(r, u->m->id) ? fill_queue(r, u) : 0;
}

/* Its senders have to send themselves, and so must have nothing in their own queues yet. */
static int fill_from_owner(struct restore *r, struct usk *u)
{
	return usk_is_dgram(u) && needs_owner(r, u) ? fill_one(r, u) : 0;
}

int unix_dgram_fill_all(struct restore *r)
{
	int err = usk_each_made(r, fill_from_half);

	err = err ?: usk_each_made(r, part_half);
	err = err ?: usk_each_made(r, fill_from_owner);
	return err ?: usk_each_made(r, fill_one);
}
