/* SPDX-License-Identifier: GPL-2.0-only */
#include <netinet/tcp.h>
#include <string.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "options/inherited.h"
#include "sock/queue.h"
#include "sock/unix/unix_name.h"
#include "sock/unix/usk.h"
#include "tree/subsys.h"

const struct subsys usk_subsys = { .name = "unix sockets at restore",
	                           .state = { .restore = sizeof(struct unix_restore) } };

struct unix_restore *usk_all(struct restore *r)
{
	struct unix_restore *all = restore_state(r, &usk_subsys);

	if (!all->arena)
		all->scratch = -1;
	all->arena = r->arena;
	return all;
}

struct usk *usk_find(struct unix_restore *all, uint32_t ino)
{
	struct usk *u = NULL;

	if (ino)
		HASH_FIND(hh, all->by_ino, &ino, sizeof(ino), u);
	return u;
}

#define KEY_HEAD 5

/* Type, network namespace (of an abstract one: paths are the machine's) and name as one key. */
static size_t make_key(char *key, uint32_t net_ns, uint32_t type, const char *name, size_t len)
{
	if (len && name[0])
		net_ns = 0;
	key[0] = (char)type;
	memcpy(key + 1, &net_ns, sizeof(net_ns));
	memcpy(key + KEY_HEAD, name, len);
	return len + KEY_HEAD;
}

struct usk *usk_find_name(struct unix_restore *all, uint32_t net_ns, uint32_t type, const void *name, size_t len)
{
	char key[SOCKET_NAME_MAX + KEY_HEAD];
	struct usk *u;

	if (len && ((const char *)name)[0])
		len = strnlen(name, len);
	if (!len || len > SOCKET_NAME_MAX)
		return NULL;
	len = make_key(key, net_ns, type, name, len);
	HASH_FIND(hh_name, all->by_name, key, len, u);
	return u;
}

static bool is_made_by_us(const struct usk *u)
{
	return u->made != MADE_NOT_YET && !u->inherited;
}

static int call_in_its_ns(struct restore *r, struct usk *u, int (*fn)(struct restore *r, struct usk *u))
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit(r, u->net_ns, &v);

	return err ?: fn(r, u);
}

static int call_each(struct restore *r, bool made, int (*fn)(struct restore *r, struct usk *u))
{
	const struct unix_restore *all = usk_all(r);
	int err = 0;

	for (size_t i = 0; all->in_portions && i < all->n_portion && !err; i++)
		if (all->portion[i]->use != USE_NONE && (!made || is_made_by_us(all->portion[i])))
			err = call_in_its_ns(r, all->portion[i], fn);
	for (struct usk *u = all->in_portions ? NULL : all->by_ino; u && !err; u = u->hh.next)
		if (u->use != USE_NONE && (!made || is_made_by_us(u)))
			err = call_in_its_ns(r, u, fn);
	return err;
}

int usk_each(struct restore *r, int (*fn)(struct restore *r, struct usk *u))
{
	return call_each(r, false, fn);
}

int usk_each_made(struct restore *r, int (*fn)(struct restore *r, struct usk *u))
{
	return call_each(r, true, fn);
}

/* ---- from the images ---- */

static const char *usk_text(struct arena *a, const struct usk *u)
{
	if (!u->name)
		return arena_printf(a, "unix socket %u", u->m->id);
	if (usk_is_path(u))
		return arena_printf(a, "unix socket %u (%.*s)", u->m->id, (int)u->name_len, u->name);
	return arena_printf(a, "unix socket %u (%s)", u->m->id, unix_name_text(a, u->name, u->name_len));
}

static int add_usk(struct restore *r, const void *msg, void *arg)
{
	struct unix_restore *all = arg;
	const UnixSkEntry *m = msg;
	struct usk *u = arena_new_of(r->arena, struct usk), *other;
	char key[SOCKET_NAME_MAX + KEY_HEAD];
	size_t len;
	bool bound;

	*u = (struct usk) { .m = m, .ino = m->ino, .fd = -1, .temp_fd = -1 };
	u->net_ns = net_ns_of_msg(r, m);
	if (m->name.len && m->name.len <= SOCKET_NAME_MAX) {
		char *name = arena_alloc(r->arena, m->name.len + 1);

		memcpy(name, m->name.data, m->name.len);
		name[m->name.len] = 0;
		u->name = name;
		u->name_len = u->name[0] ? strlen(u->name) : m->name.len;
	}
	u->text = usk_text(r->arena, u);
	HASH_FIND(hh, all->by_ino, &u->ino, sizeof(u->ino), other);
	if (other)
		return log_errno(-EBADMSG, "files.img: unix sockets %u and %u have the same inode %u", other->m->id,
		                 m->id, u->ino);
	HASH_ADD_IN(r->arena, hh, all->by_ino, ino, sizeof(u->ino), u);
	/* Connected ones may have their listener's name. */
	bound = u->name && (usk_is_dgram(u) || m->state != TCP_ESTABLISHED) && !(m->uflags & USK_EXTERN);
	if (!bound || usk_find_name(all, u->net_ns, m->type, u->name, u->name_len))
		return 0;
	len = make_key(key, u->net_ns, m->type, u->name, u->name_len);
	HASH_ADD_KEYPTR_IN(r->arena, hh_name, all->by_name, arena_memdup(r->arena, key, len), len, u);
	return 0;
}

int usk_read_images(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = queue_read_images(r);

	if (!err)
		err = files_all(r, kind_by_fd_type(FD_TYPES__UNIXSK), add_usk, all);
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next) {
		char resource[32];

		snprintf(resource, sizeof(resource), "socket:[%u]", u->ino);
		u->peer = usk_find(all, u->m->peer);
		u->inherited = u->m->uflags & USK_CALLBACK || inherited_fd(r->opts, resource) >= 0;
	}
	return err;
}
