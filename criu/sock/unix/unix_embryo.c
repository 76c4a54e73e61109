/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What clients have sent before they were accepted is read by embryo_look.h, and sent again by the restored clients, or
 * by temporary ones in the place of those that are gone, as soon as they wait in the listener's queue.
 */
#include <string.h>
#include <sys/socket.h>

#include "format.h"
#include "tree/inventory.h"
#include "tree/pid_numbers.h"
#include "lib/log.h"
#include "sock/queue.h"
#include "sock/unix/unix_embryo.h"
#include "sock/unix/unix_name.h"
#include "uapi/sock_bits.h"

/* ---- dump ---- */

void unix_embryo_look(struct dump *d, struct unix_seen *u, int fd)
{
	struct unix_dump *all = unix_dump_table(d);

	if (!all->look && !all->no_look &&
	    embryo_look_start(d->arena, d->tree.tasks[0]->pid, &all->look, &all->no_look))
		all->look = NULL;
	u->embryos.why = all->no_look;
	if (all->look && embryo_look_at(all->look, fd, &u->embryos.list, &u->embryos.n, &u->embryos.why))
		u->embryos.n = 0;
}

void unix_embryo_end(struct dump *d)
{
	struct unix_dump *all = unix_dump_table(d);

	if (all->look)
		embryo_look_end(move_ptr(all->look));
}

static UnixWaitingMessage *message_of(struct dump *d, const struct embryo_message *from)
{
	UnixWaitingMessage *m = arena_msg(d->arena, UnixWaitingMessage, unix_waiting_message);

	m->data.data = (uint8_t *)from->bytes;
	m->data.len = from->len;
	m->has_pid = m->has_uid = m->has_gid = true;
	m->pid = (uint32_t)from->pid;
	m->uid = from->uid;
	m->gid = from->gid;
	m->has_oob = m->oob = from->oob;
	return m;
}

static UnixWaitingEntry *entry_of(struct dump *d, const struct embryo *from)
{
	UnixWaitingEntry *e = arena_msg(d->arena, UnixWaitingEntry, unix_waiting_entry);

	e->has_pid = e->has_uid = e->has_gid = true;
	e->pid = (uint32_t)from->pid;
	e->uid = from->uid;
	e->gid = from->gid;
	e->n_groups = from->n_groups;
	e->groups = (uint32_t *)from->groups;
	for (size_t i = 0; i < from->n_messages; i++)
		arena_push(d->arena, &e->messages, &e->n_messages, message_of(d, &from->messages[i]));
	return e;
}

static int refuse_message(struct dump *d, const struct unix_seen *u, const struct embryo *from,
                          const struct embryo_message *m, const char *what)
{
	log_refusal(-EBUSY,
	            "%s: a listening unix socket (%s): a connection of pid %d waits to be accepted, and has sent %s "
	            "before (a message of %u bytes), which cannot be read before; let it be accepted first (try again)",
	            u->who, unix_name_text(d->arena, u->diag->name, u->diag->name_len), from->pid, what, m->len);
	return DUMP_REFUSED;
}

/* Whether all that it has sent can come back. --skip-in-flight drops what one that is gone has sent. */
static int check_messages(struct dump *d, const struct unix_seen *u, struct embryo *from)
{
	for (size_t i = 0; i < from->n_messages; i++) {
		const struct embryo_message *m = &from->messages[i];

		if (m->bytes && !m->has_rights)
			continue;
		if (from->client || !d->opts->skip_in_flight)
			return refuse_message(d, u, from, m,
			                      m->has_rights ? "descriptors (SCM_RIGHTS)"
			                                    : "more than the kernel keeps in one piece");
		log_warn("%s: a listening unix socket (%s): a connection waits to be accepted whose client is gone "
		         "already: what that has sent is lost (--skip-in-flight)",
		         u->who, unix_name_text(d->arena, u->diag->name, u->diag->name_len));
		from->n_messages = 0;
	}
	return 0;
}

/* A listener in a nested pid namespace would know a client that is gone by a number of that one. */
static void warn_of_number(struct dump *d, const struct unix_seen *u, const struct embryo *from)
{
	if (from->pid && u->task && pid_depth(&d->tree, u->task->vpid) && !tree_find(&d->tree, VPID(from->pid)))
		log_warn("%s: a listening unix socket (%s): a connection waits to be accepted whose client, pid %d, is "
		         "gone: restored, it is from pid 0 (SO_PEERCRED)",
		         u->who, unix_name_text(d->arena, u->diag->name, u->diag->name_len), from->pid);
}

static bool same_clients(const struct unix_seen *u)
{
	const struct diag_unix *diag = u->diag;

	if (u->embryos.n != diag->n_icons)
		return false;
	for (size_t i = 0; i < diag->n_icons; i++)
		if (u->embryos.list[i].client != diag->icons[i])
			return false;
	return true;
}

int unix_embryo_dump(struct dump *d, const struct unix_seen *u, const char **why)
{
	int ret = 0;

	*why = u->embryos.why ?: same_clients(u) ? NULL : "others have connected meanwhile";
	if (*why)
		return -EAGAIN;
	for (size_t i = 0; i < u->embryos.n; i++) {
		struct embryo *e = &u->embryos.list[i];

		warn_of_number(d, u, e);
		ret = check_messages(d, u, e) ?: ret;
		arena_push(d->arena, &u->m->connections, &u->m->n_connections, entry_of(d, e));
		/* A reader that does not know them would lose what was sent. */
		if (e->n_messages)
			inventory_only_ours(d);
	}
	return ret;
}

/* ---- restore ---- */

const char *unix_embryo_check(const UnixSkEntry *m)
{
	if (m->n_connections && m->n_connections != m->n_waiting)
		return "it has another number of connections than of sockets that wait";
	for (size_t i = 0; i < m->n_connections; i++)
		for (size_t j = 0; j < m->connections[i]->n_messages; j++) {
			const UnixWaitingMessage *w = m->connections[i]->messages[j];

			if (w->data.len > INT32_MAX || (w->oob && w->data.len != 1))
				return "what a connection has sent has no valid length";
			if (w->pid > INT32_MAX)
				return "what a connection has sent is from no valid pid";
		}
	return NULL;
}

bool unix_embryo_connector(const UnixSkEntry *m, size_t i, struct identity *as)
{
	const UnixWaitingEntry *e = i < m->n_connections ? m->connections[i] : NULL;

	if (!e || !e->has_uid || !e->has_gid)
		return false;
	*as = (struct identity) { .pid = VPID(e->pid),
		                  .uid = e->uid,
		                  .gid = e->gid,
		                  .groups = e->groups ?: (const uint32_t *)"",
		                  .n_groups = e->n_groups };
	return true;
}

int unix_embryo_send(struct restore *r, const UnixSkEntry *m, size_t i, int fd, const char *what)
{
	const UnixWaitingEntry *e = i < m->n_connections ? m->connections[i] : NULL;
	struct queued_message *list = NULL;
	size_t n = 0;

	for (size_t j = 0; e && j < e->n_messages; j++) {
		const UnixWaitingMessage *w = e->messages[j];
		SkPacketEntry *p = arena_msg(r->arena, SkPacketEntry, sk_packet_entry);

		p->length = (uint32_t)w->data.len;
		p->has_pid = p->has_uid = p->has_gid = w->has_uid && w->has_gid;
		p->pid = w->pid;
		p->uid = w->uid;
		p->gid = w->gid;
		p->oob = w->oob;
		arena_push(r->arena, &list, &n, ((struct queued_message) { p, w->data.data }));
	}
	return queue_send_messages(r, list, n, fd, what);
}
