/* SPDX-License-Identifier: GPL-2.0-only */
#include "pages/pages_before.h"

#include <inttypes.h>

#include "image/image_messages.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "pages/pagemap.h"

struct sent_task {
	uint32_t pid;
	struct ranges has;
	UT_hash_handle hh;
};

struct pages_before {
	struct image_dir *dir;
	struct sent_task *sent; /* to a page server; NULL: pagemaps are here */
};

static struct sent_task *sent_task_of(const struct pages_before *b, uint32_t pid)
{
	struct sent_task *s;

	HASH_FIND(hh, b->sent, &pid, sizeof(pid), s);
	return s;
}

/* Foreign input, as all images are. */
static int take_sent(struct dump *d, struct pages_before *b, const SentEntry *e)
{
	const uint64_t most = (uint64_t)INT64_MAX / PAGE_SIZE;
	struct sent_task *s = sent_task_of(b, e->pid);

	if (!s) {
		s = arena_new_of(d->arena, struct sent_task);
		s->pid = e->pid;
		HASH_ADD_IN(d->arena, hh, b->sent, pid, sizeof(s->pid), s);
	}
	for (size_t i = 0; i < e->n_first; i++) {
		uint64_t after = s->has.n ? s->has.r[s->has.n - 1].end / PAGE_SIZE : 0;

		if (i >= e->n_nr_pages || e->first[i] < after || e->first[i] > most || !e->nr_pages[i] ||
		    e->nr_pages[i] > most - e->first[i])
			return log_errno(-EBADMSG, "sent.img: page %" PRIu64 " of pid %u is out of place", e->first[i],
			                 e->pid);
		ranges_push(d->arena, &s->has, e->first[i] * PAGE_SIZE, (e->first[i] + e->nr_pages[i]) * PAGE_SIZE);
	}
	return 0;
}

/* Files that are written here can only be on top of files that are here. */
int pages_before_read(struct dump *d, struct image_dir *prev, struct pages_before **bp)
{
	struct pages_before *b = arena_new_of(d->arena, struct pages_before);
	_cleanup_image_ struct image *img = NULL;
	SentEntry *e;
	int err = d->opts->page_server || d->opts->lazy_pages ? image_open(prev, IMG_SENT, 0, &img) : -ENOENT;

	b->dir = prev;
	*bp = b;
	while (!err) {
		err = image_read(img, &sent_entry__descriptor, d->arena, &e);
		if (err <= 0)
			return err;
		err = take_sent(d, b, e);
	}
	return err == -ENOENT ? 0 : err;
}

int pages_before_of(struct dump *d, const struct pages_before *b, const struct task *t, struct ranges *stored)
{
	const struct sent_task *s = b ? sent_task_of(b, (uint32_t)t->vpid.v) : NULL;
	struct pagemap *map = NULL;
	int err;

	if (s || !b || b->sent) {
		*stored = s ? s->has : (struct ranges) { 0 };
		return 0;
	}
	err = pagemap_read(b->dir, d->arena, IMG_PAGEMAP, (uint64_t)t->vpid.v, INT64_MAX & ~(PAGE_SIZE - 1), &map);
	for (size_t i = 0; !err && i < map->n_runs; i++)
		if (!map->runs[i].with_parent && !map->runs[i].in_file && !map->runs[i].gone && !map->runs[i].later)
			ranges_push(d->arena, stored, map->runs[i].at, page_run_end(&map->runs[i]));
	return err == -ENOENT ? 0 : err;
}
