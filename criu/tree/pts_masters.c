/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/pts_masters.h"

#include "tree/subsys.h"

extern const struct subsys pts_masters_subsys;

struct pts_master {
	uint32_t dev;
	unsigned index;
	int fd; /* -1: taken */
};

struct pts_masters_all {
	struct pts_master *v;
	size_t n;
};

void pts_masters_note(struct restore *r, uint32_t dev, unsigned index, int fd)
{
	struct pts_masters_all *all = restore_state(r, &pts_masters_subsys);
	const struct pts_master m = { dev, index, fd };

	arena_push(r->arena, &all->v, &all->n, m);
}

int pts_masters_take(struct restore *r, uint32_t dev, unsigned index)
{
	const struct pts_masters_all *all = restore_state(r, &pts_masters_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].fd >= 0 && all->v[i].dev == dev && all->v[i].index == index)
			return move_fd(&all->v[i].fd);
	return -ENOENT;
}

static void close_masters(struct restore *r)
{
	const struct pts_masters_all *all = restore_state(r, &pts_masters_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].fd >= 0)
			close(move_fd(&all->v[i].fd));
}

const struct subsys pts_masters_subsys = { .name = "masters of terminals that mounts show",
	                                   .state = { .restore = sizeof(struct pts_masters_all) },
	                                   .done = close_masters };
