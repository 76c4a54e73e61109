/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which unix sockets have to be made together. A tree may have more of them than criu can have descriptors, so they are
 * made in portions, when the first of a portion is opened for a table. A group is what refers to each other: the ends
 * of a connection, a listener and the clients that wait in its queue, halves of a socketpair(2), and for an abstract
 * name, which only one socket can have at a time, the listener and what it has accepted.
 */
#include <netinet/tcp.h>

#include "lib/log.h"
#include "sock/unix/unix_restore.h"

#define PORTION 1000 /* sockets, or one group */

/* ---- what belongs together: sets that are joined ---- */

static struct usk *root_of(struct usk *u)
{
	while (u->group != u) {
		u->group = u->group->group;
		u = u->group;
	}
	return u;
}

static void join_groups(struct usk *a, struct usk *b)
{
	a = root_of(a);
	b = root_of(b);
	/* The first in files.img leads. */
	if (a->order < b->order)
		b->group = a;
	else
		a->group = b;
}

/* A datagram socket that is connected to a name finds that at the end. */
static bool needs_peer(const struct usk *u)
{
	return u->peer && (!usk_is_dgram(u) || !u->peer->name || (u->m->has_cred_uid && u->peer->m->has_cred_uid));
}

static void join_by_name(struct unix_restore *all, struct usk *u, const void *name, size_t len)
{
	struct usk *other = NULL;

	if (len && !((const char *)name)[0])
		other = usk_find_name(all, u->net_ns, u->m->type, name, len);
	if (other)
		join_groups(u, other);
}

static void join_all(struct unix_restore *all)
{
	for (struct usk *u = all->by_ino; u; u = u->hh.next) {
		if (needs_peer(u))
			join_groups(u, u->peer);
		for (size_t i = 0; i < u->m->n_waiting; i++) {
			struct usk *client = usk_find(all, u->m->waiting[i]);

			if (client)
				join_groups(u, client);
		}
		join_by_name(all, u, u->name, u->name_len);
		join_by_name(all, u, u->m->peer_name.data, u->m->has_peer_name ? u->m->peer_name.len : 0);
	}
}

void unix_group_all(struct unix_restore *all)
{
	struct usk **last = &all->groups;
	unsigned order = 0;

	for (struct usk *u = all->by_ino; u; u = u->hh.next) {
		u->group = u;
		u->last_member = u;
		u->order = order++;
	}
	join_all(all);
	for (struct usk *u = all->by_ino; u; u = u->hh.next) {
		struct usk *leader = root_of(u);

		if (leader == u) {
			*last = u;
			last = &u->next_group;
		} else {
			leader->last_member->next_member = u;
			leader->last_member = u;
		}
		/* What only a queue has is needed from the start. */
		leader->group_early |= u->use == USE_QUEUE || u->inherited;
		leader->group_size++;
	}
	all->portion = arena_array(all->arena, struct usk *, order + 1);
}

/* ---- portions ---- */

static void add_group(struct unix_restore *all, struct usk *leader)
{
	leader->group_made = true;
	for (struct usk *u = leader; u; u = u->next_member)
		all->portion[all->n_portion++] = u;
}

void unix_group_first(struct unix_restore *all)
{
	all->in_portions = true;
	all->n_portion = 0;
	for (struct usk *g = all->groups; g; g = g->next_group)
		if (g->group_early)
			add_group(all, g);
}

bool unix_group_next(struct unix_restore *all, struct usk *u)
{
	struct usk *g = root_of(u);

	all->n_portion = 0;
	for (; g && all->n_portion < PORTION; g = g->next_group)
		if (!g->group_made && (!all->n_portion || all->n_portion + g->group_size <= PORTION))
			add_group(all, g);
	return all->n_portion;
}

void unix_group_done(struct usk *u)
{
	root_of(u)->group_made = true;
}

void unix_group_end(struct unix_restore *all)
{
	all->in_portions = false;
}
