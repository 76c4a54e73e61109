/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/pages_given.h"

#include <inttypes.h>

#include "image/image.h"
#include "lib/arena.h"
#include "lib/log.h"
#include "options/options.h"
#include "pages/page_give.h"
#include "pages/pages_reader.h"

struct given_task {
	vpid_t vpid;
	struct pages_reader *reader;
};

struct given {
	struct image_dir *dir;
	struct arena *arena;
	struct given_task *tasks; /* that have been asked for */
	size_t n_tasks;
	struct pages_reader *found;
};

/* One that the checkpoint does not have is no reason for more than a line. */
static struct pages_reader *find_reader(struct given *g, vpid_t vpid)
{
	struct given_task t = { .vpid = vpid };

	for (size_t i = 0; i < g->n_tasks; i++)
		if (g->tasks[i].vpid.v == vpid.v)
			return g->tasks[i].reader;
	if (pages_reader_open(g->dir, g->arena, vpid, NULL, &t.reader))
		return NULL;
	arena_push(g->arena, &g->tasks, &g->n_tasks, t);
	return t.reader;
}

static const struct page_run *find_stored(void *arg, vpid_t vpid, raddr_t at)
{
	struct given *g = arg;
	struct pages_reader *reader = find_reader(g, vpid);
	const struct pagemap *map = reader ? pages_reader_map(reader) : NULL;
	size_t low = 0, high = map ? map->n_runs : 0;

	g->found = reader;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (page_run_end(&map->runs[mid]) > at)
			high = mid;
		else
			low = mid + 1;
	}
	if (!map || low == map->n_runs || map->runs[low].at > at || map->runs[low].with_parent)
		return NULL;
	return &map->runs[low];
}

static int read_stored(void *arg, const struct page_run *part, uint8_t *buf)
{
	return pages_reader_read(((struct given *)arg)->found, part, buf);
}

int pages_give_images(const struct options *o, const struct page_peer *p)
{
	struct given g = { .arena = arena_new() };
	const struct page_giver from = { .arg = &g, .find = find_stored, .read = read_stored };
	uint64_t n = 0;
	int err = g.arena ? image_dir_open(o->images_dir, o->allow_edited_images, &g.dir) : -ENOMEM;

	if (!err)
		err = page_give(p, &from, &n);
	if (!err)
		err = page_give_answer(p, 0);
	if (!err)
		log_info("the lazy-pages daemon has had %" PRIu64 " pages, and needs no more", n);
	image_dir_close(g.dir);
	arena_free(g.arena);
	return err;
}
