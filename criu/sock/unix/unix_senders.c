/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who sends the messages that wait in a datagram socket again: recvfrom(2) shows the name of the sender. A path can be
 * bound by another socket in the scratch root; an abstract name is its owner's, who has to send himself.
 */
#include <string.h>

#include "lib/log.h"
#include "sock/queue.h"
#include "sock/unix/unix_late.h"

/* Connects `from`, which is nobody's but ours, to u. */
static int connect_temp(struct restore *r, const struct usk *u, int *from)
{
	int err = unix_connect_to(unix_restore_of(r), *from, u);

	return err ? log_errno(err, "%s: connecting a sender to it", u->text) : 0;
}

static int lost_name(const struct usk *u, const char *name, size_t len)
{
	log_warn(
	    "%s: the name of who sent what waits in it (%.*s) is in use otherwise; those messages come from a socket "
	    "without a name",
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
	while (unix_free_soon(r, err));
	if (err == -EADDRINUSE)
		return lost_name(u, name, len);
	return err ? log_errno(err, "%s: naming a sender", u->text) : 0;
}

/* A socket of ours with the name of the sender, connected to u. */
static int temp_sender(struct restore *r, const struct usk *u, const char *name, size_t len)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	unsigned number;
	int err = 0;

	if (fd < 0)
		return log_errno(-errno, "%s: a socket that sends to it", u->text);
	if (len && name[0])
		err = unix_bind_scratch(unix_restore_of(r), fd, name, len, &number);
	else if (len)
		err = name_sender(r, u, fd, name, len);
	if (!err)
		err = connect_temp(r, u, &fd);
	return err ?: move_fd(&fd);
}

/* The other half of a socketpair that has no name. */
static struct usk *other_half(const struct usk *u)
{
	return u->peer && u->peer->peer == u ? u->peer : u->from;
}

/* The owner of an abstract name, connected to u for a while: only while nothing waits in him, which would be lost. */
static bool can_send_himself(struct restore *r, const struct usk *owner)
{
	return owner && owner->wanted && owner->made && !owner->handed && !owner->connected && !owner->born &&
	       (!owner->filled || !queue_count(r, owner->m->id));
}

static int send_himself(struct restore *r, const struct usk *u, const struct usk *owner, size_t first, size_t n)
{
	_cleanup_close_ int fd = files_borrow(r, owner->m->id);
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int err = fd < 0 ? fd : connect_temp(r, u, &fd);

	if (!err)
		err = queue_send(r, u->m->id, first, n, fd);
	if (!err && connect(fd, &none, sizeof(none)))
		err = log_errno(-errno, "%s: disconnecting it", owner->text);
	return err;
}

int unix_name_half(struct restore *r, struct usk *u, const char *name, size_t len)
{
	if (u->temp_named)
		return 0;
	u->temp_named = true;
	return unix_name_temp(r, u->temp, name, len, u->text);
}

static int send_run(struct restore *r, struct usk *u, const char *name, size_t len, size_t first, size_t n)
{
	struct unix_restore *all = unix_restore_of(r);
	struct usk *owner = len ? usk_named(all, SOCK_DGRAM, name, len) : NULL;
	_cleanup_close_ int from = -1;
	int err;

	if (u->temp >= 0) {
		err = len ? unix_name_half(r, u, name, len) : 0;
		return err ?: queue_send(r, u->m->id, first, n, u->temp);
	}
	if (!owner && (u->at == AT_NOWHERE || u->born))
		owner = other_half(u);
	if (owner && owner->peer == u && owner->wanted) {
		err = unix_connect_dgram(r, owner);
		from = err ? err : files_borrow(r, owner->m->id);
	} else if (len && !name[0] && can_send_himself(r, owner)) {
		return send_himself(r, u, owner, first, n);
	} else {
		from = temp_sender(r, u, name, len);
	}
	return from < 0 ? from : queue_send(r, u->m->id, first, n, from);
}

/* The name in an address: what stands behind its family. */
static const char *sender_name(struct restore *r, const struct usk *u, size_t n, size_t *len)
{
	const char *address = queue_sender(r, u->m->id, n, len);
	size_t head = offsetof(struct sockaddr_un, sun_path);

	*len = address && *len > head ? MIN(*len - head, sizeof(((struct sockaddr_un *)0)->sun_path)) : 0;
	if (*len && address[head])
		*len = strnlen(address + head, *len);
	return *len ? address + head : "";
}

bool unix_needs_owner(struct restore *r, const struct usk *u)
{
	for (size_t i = 0, n = queue_count(r, u->m->id), len; i < n; i++) {
		const char *name = sender_name(r, u, i, &len);
		const struct usk *owner = len && !name[0] ? usk_named(unix_restore_of(r), SOCK_DGRAM, name, len) : NULL;

		if (owner && owner->peer != u)
			return true;
	}
	return false;
}

int unix_fill_dgram(struct restore *r, struct usk *u, size_t n)
{
	size_t first = 0, len, next_len;
	int err = 0;

	while (!err && first < n) {
		const char *name = sender_name(r, u, first, &len), *next;
		size_t count = 1;

		for (; first + count < n; count++) {
			next = sender_name(r, u, first + count, &next_len);
			if (next_len != len || memcmp(next, name, len))
				break;
		}
		err = send_run(r, u, name, len, first, count);
		first += count;
	}
	u->filled = true;
	return err;
}

/*
 * One that is connected to the other half of its socketpair, which is connected elsewhere now: only that half can have
 * sent what waits, and only as long as it is where it was made.
 */
int unix_fill_born(struct restore *r, struct usk *u)
{
	const struct usk *half = u->peer;
	size_t n = queue_count(r, u->m->id), len;
	_cleanup_close_ int from = -1;
	int err;

	if (!n || !u->born || !u->connected || !half || !half->born || half->connected || half->peer == u)
		return 0;
	for (size_t i = 0; i < n; i++) {
		const char *name = sender_name(r, u, i, &len);

		if (len && (len != half->name_len || memcmp(name, half->name, len))) {
			lost_name(u, name, len);
			break;
		}
	}
	from = files_borrow(r, half->m->id);
	err = from < 0 ? from : queue_send(r, u->m->id, 0, n, from);
	u->filled = true;
	return err;
}
