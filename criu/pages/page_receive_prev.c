/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/page_receive_prev.h"

#include <inttypes.h>

#include "image/image_change.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "tree/run_mark.h"

struct prev_key {
	uint64_t type, number;
};

struct prev_map {
	struct prev_key key;
	struct pagemap *map; /* NULL: there is none, or not all of it */
	UT_hash_handle hh;
};

static struct pagemap *read_map(struct receive_prev *p, enum image_type type, uint64_t number, uint64_t limit)
{
	struct pagemap *map = NULL;
	int err = pagemap_read_chain(p->images->prev, p->arena, type, number, limit, &map);

	if (err && (err != -ENOENT || map))
		log_warn("%s: not all of the checkpoint before is as it was: the dump is asked to send all of this",
		         map ? map->name : image_dir_path(p->images->prev));
	return err ? NULL : map;
}

/* Asked for twice at least: by itself, and when its pages come. */
static struct prev_map *find_map(struct receive_prev *p, enum image_type type, uint64_t number, uint64_t limit)
{
	const struct prev_key key = { type, number };
	struct prev_map *m;

	HASH_FIND(hh, p->maps, &key, sizeof(key), m);
	if (m)
		return m;
	m = arena_new_of(p->arena, struct prev_map);
	m->key = key;
	m->map = read_map(p, type, number, limit);
	HASH_ADD_IN(p->arena, hh, p->maps, key, sizeof(m->key), m);
	return m;
}

static bool is_mark_of_prev(struct receive_prev *p, struct image_dir *prev, uint64_t mark)
{
	uint64_t has;

	return !run_mark_read(prev, p->arena, &has) && has == mark;
}

/* A dump asks for the mark while its tree runs, and for the tasks when that stands still: then all is read. */
static void read_ahead(struct receive_prev *p, uint64_t limit)
{
	uint64_t *numbers = NULL;
	size_t n = 0;

	if (image_change_numbers(p->images->prev, IMG_PAGEMAP, p->arena, &numbers, &n))
		return;
	for (size_t i = 0; i < n; i++)
		find_map(p, IMG_PAGEMAP, numbers[i], limit);
}

bool page_receive_prev_has(struct receive_prev *p, enum image_type type, uint64_t number, uint64_t limit)
{
	bool is_mark = type == IMG_SHMEM_PAGEMAP && run_mark_is(number), has;

	p->map = NULL;
	p->next = 0;
	if (!p->images->prev)
		return false;
	p->arena = p->arena ?: arena_new();
	if (!p->arena)
		return false;
	has = is_mark && is_mark_of_prev(p, p->images->prev, number);
	if (has)
		read_ahead(p, limit);
	if (is_mark)
		return has;
	p->map = find_map(p, type, number, limit)->map;
	return p->map;
}

int page_receive_prev_check(struct receive_prev *p, const char *name, const struct page_run *run)
{
	raddr_t at = run->at;

	for (; at < page_run_end(run) && p->map; at = page_run_end(&p->map->runs[p->next])) {
		const struct page_run *has;

		while (p->next < p->map->n_runs && page_run_end(&p->map->runs[p->next]) <= at)
			p->next++;
		has = &p->map->runs[p->next];
		if (p->next == p->map->n_runs || has->at > at || has->with_parent || has->in_file || has->later)
			break;
	}
	p->used = true;
	if (at >= page_run_end(run))
		return 0;
	return log_errno(-EBADMSG,
	                 "%s: the peer says that the page at %" PRIx64
	                 " is in a parent checkpoint, where this server has none of it",
	                 name, at);
}

int page_receive_prev_check_all(struct receive_prev *p)
{
	struct image_dir *prev;
	bool same;
	int err;

	if (!p->used || !p->mark)
		return 0;
	err = image_received_open_prev(p->images, &prev);
	if (err)
		return err;
	same = image_dir_is_same(prev, p->images->prev) && is_mark_of_prev(p, prev, p->mark);
	image_dir_close(prev);
	if (same)
		return 0;
	return log_errno(-ESTALE, "%s: the checkpoint before this one was replaced while pages came on top of it",
	                 image_dir_path(p->images->prev));
}

void page_receive_prev_end(struct receive_prev *p)
{
	arena_free(p->arena);
	p->arena = NULL;
}
