/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/ns_made.h"

#include "tree/subsys.h"

extern const struct subsys ns_made_subsys;

struct ns_made {
	const struct ns_type *type;
	uint32_t id;
	int fd;
};

struct ns_made_all {
	struct ns_made *v;
	size_t n;
};

void ns_made_note(struct restore *r, const struct ns_type *type, uint32_t id, int fd)
{
	struct ns_made_all *all = restore_state(r, &ns_made_subsys);
	const struct ns_made made = { type, id, fd };

	arena_push(r->arena, &all->v, &all->n, made);
}

int ns_made_fd(struct restore *r, uint64_t flag, uint32_t id)
{
	const struct ns_made_all *all = restore_state(r, &ns_made_subsys);

	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].type->flag == flag && all->v[i].id == id)
			return all->v[i].fd;
	return -ENOENT;
}

const struct subsys ns_made_subsys = { .name = "namespaces that were made",
	                               .state = { .restore = sizeof(struct ns_made_all) } };
