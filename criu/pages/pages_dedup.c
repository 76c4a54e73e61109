/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A chain is gone through from its latest checkpoint on, with the addresses that those looked at so far have pages of:
 * no later one asks an older one for these. All is found out before anything is changed.
 */
#include "pages/pages_dedup.h"

#include <fcntl.h>
#include <inttypes.h>

#include "image/image_change.h"
#include "lib/arena.h"
#include "lib/log.h"
#include "pages/page_punched.h"
#include "pages/page_regions.h"
#include "tree/dump.h"
#include "tree/inventory.h"
#include "tree/subsys.h"

/* What goes out of one checkpoint. */
struct punch_dir {
	struct image_dir *dir;
	struct page_punch *list;
	size_t n;
};

/* The memory of a task, or an object, as far as the chain has been gone through. */
struct later {
	enum image_type type;
	uint64_t id;
	struct ranges has; /* of addresses */
};

struct punching {
	struct arena *arena;
	struct later *later;
	size_t n_later;
	struct punch_dir *dirs;
	size_t n_dirs;
	bool packed; /* some pages cannot be punched, since they are compressed */
};

/* ---- what goes ---- */

static struct punch_dir *punch_dir_of(struct punching *p, struct image_dir *dir)
{
	const struct punch_dir new = { .dir = dir };

	for (size_t i = 0; i < p->n_dirs; i++)
		if (p->dirs[i].dir == dir)
			return &p->dirs[i];
	arena_push(p->arena, &p->dirs, &p->n_dirs, new);
	return &p->dirs[p->n_dirs - 1];
}

static uint64_t count_bytes(const struct ranges *list)
{
	uint64_t n = 0;

	for (size_t i = 0; i < list->n; i++)
		n += list->r[i].end - list->r[i].start;
	return n;
}

/* where: offsets in the pages file of map. A compressed one goes as a whole, or not at all. */
static void add_punch(struct punching *p, const struct pagemap *map, const struct ranges *where)
{
	struct page_punch punch = { .pages_id = map->pages_id, .where = *where, .packed = map->regions };
	struct punch_dir *d;

	if (!where->n)
		return;
	if (map->regions && count_bytes(where) < map->n_pages * PAGE_SIZE) {
		p->packed = true;
		return;
	}
	d = punch_dir_of(p, map->dir);
	arena_push(p->arena, &d->list, &d->n, punch);
}

static int punch_all(struct punching *p)
{
	uint64_t freed = 0;
	int err = 0, part;

	if (p->packed)
		log_msg(
		    "some pages stay, though nothing needs them: a compressed pages file is given back as a whole or "
		    "not at all");
	for (size_t i = 0; i < p->n_dirs; i++) {
		part = page_punched_add(p->dirs[i].dir, p->dirs[i].list, p->dirs[i].n, &freed);
		err = err ?: part;
	}
	log_info("%" PRIu64 " KiB of pages files of %zu checkpoints were given back", freed >> 10, p->n_dirs);
	return err;
}

/* ---- a chain ---- */

static bool has_itself(const struct page_run *run)
{
	return !run->with_parent && !run->in_file && !run->in_prev && !run->later;
}

/* The addresses of the pages that a checkpoint itself has. */
static struct ranges own_addresses(struct arena *a, const struct pagemap *map)
{
	struct ranges list = { 0 };

	for (size_t i = 0; i < map->n_runs; i++)
		if (has_itself(&map->runs[i]))
			ranges_push(a, &list, map->runs[i].at, page_run_end(&map->runs[i]));
	return list;
}

/* Where in the pages file of map the pages at these addresses are, all of which it has. */
static struct ranges offsets_of(struct arena *a, const struct pagemap *map, const struct ranges *addresses)
{
	struct ranges list = { 0 };
	size_t k = 0;

	for (size_t i = 0; i < addresses->n; i++) {
		for (raddr_t at = addresses->r[i].start, to; at < addresses->r[i].end; at = to) {
			const struct page_run *run;
			struct page_run part;

			while (!has_itself(&map->runs[k]) || page_run_end(&map->runs[k]) <= at)
				k++;
			run = &map->runs[k];
			to = MIN(page_run_end(run), addresses->r[i].end);
			part = page_run_part(run, at, to);
			ranges_push(a, &list, part.stored, part.stored + part.n * PAGE_SIZE);
		}
	}
	return list;
}

static struct later *later_images_of(struct punching *p, enum image_type type, uint64_t id)
{
	const struct later new = { .type = type, .id = id };

	for (size_t i = 0; i < p->n_later; i++)
		if (p->later[i].type == type && p->later[i].id == id)
			return &p->later[i];
	arena_push(p->arena, &p->later, &p->n_later, new);
	return &p->later[p->n_later - 1];
}

static int look_at_map(struct punching *p, struct image_dir *dir, enum image_type type, uint64_t id)
{
	struct later *later = later_images_of(p, type, id);
	struct pagemap *map = NULL;
	struct ranges own, both, where;
	int err = pagemap_read(dir, p->arena, type, id, INT64_MAX & ~(PAGE_SIZE - 1), &map);

	if (err)
		return err == -ENOENT && !map ? 0 : err;
	own = own_addresses(p->arena, map);
	both = ranges_common(p->arena, &own, &later->has);
	where = offsets_of(p->arena, map, &both);
	add_punch(p, map, &where);
	later->has = ranges_either(p->arena, &own, &later->has);
	return 0;
}

static int look_at_dir(struct punching *p, struct image_dir *dir)
{
	static const enum image_type types[] = { IMG_PAGEMAP, IMG_SHMEM_PAGEMAP };
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(types); i++) {
		uint64_t *ids = NULL;
		size_t n = 0;

		err = image_change_numbers(dir, types[i], p->arena, &ids, &n);
		for (size_t k = 0; !err && k < n; k++)
			err = look_at_map(p, dir, types[i], ids[k]);
	}
	return err;
}

/*
 * 0; -ENOENT: the chain ends here; or a negative errno (logged). What the oldest checkpoints had may be needed no more,
 * and they may be gone.
 */
static int find_prev(struct punching *p, struct image_dir *dir, bool parts, struct image_dir **prevp)
{
	InventoryEntry *inventory;
	int err = 0;

	if (faccessat(image_dir_fd(dir), IMAGE_PREV "/.", F_OK, 0)) {
		log_info("%s: no checkpoint before this one is there (" IMAGE_PREV ")", image_dir_path(dir));
		return -ENOENT;
	}
	if (parts)
		err = image_read_one(dir, IMG_INVENTORY, 0, p->arena, &inventory);
	if (err == -ENOENT)
		return image_dir_prev(dir, prevp);
	return err ?: inventory_prev(dir, p->arena, prevp);
}

static int look_at_chain(struct punching *p, struct image_dir *dir, bool parts)
{
	InventoryEntry *inventory;
	int err = parts ? 0 : image_read_one(dir, IMG_INVENTORY, 0, p->arena, &inventory);

	if (err == -ENOENT)
		return log_errno(err, "%s: inventory.img is missing: there is no checkpoint in this directory (see -D)",
		                 image_dir_path(dir));
	while (!err)
		err = look_at_dir(p, dir) ?: find_prev(p, dir, parts, &dir);
	return err == -ENOENT ? 0 : err;
}

int pages_dedup(const char *path, bool parts)
{
	struct punching p = { .arena = arena_new() };
	struct image_dir *dir = NULL;
	int err = p.arena ? image_dir_open(path, false, &dir) : -ENOMEM;

	if (!err)
		err = look_at_chain(&p, dir, parts) ?: punch_all(&p);
	image_dir_close(dir);
	arena_free(p.arena);
	return err;
}

/* ---- dump and restore ---- */

struct dedup_state {
	struct punching punching; /* of a restore */
	bool wanted, committed;
};

extern const struct subsys pages_dedup_subsys;

static void note_committed(struct dump *d)
{
	((struct dedup_state *)dump_state(d, &pages_dedup_subsys))->committed = true;
}

/* What a page server has received it punches itself. */
static void dedup_chain(struct dump *d)
{
	const struct dedup_state *s = dump_state(d, &pages_dedup_subsys);
	const struct options *o = d->opts;

	if (!s->committed || !o->auto_dedup)
		return;
	if (!o->prev_images_dir || o->page_server)
		log_info("--auto-dedup: %s",
		         o->page_server
		             ? "the pages are not here, but with the page server (criu page-server --auto-dedup)"
		             : "there is no checkpoint before this one (--prev-images-dir)");
	else if (pages_dedup(o->images_dir, false))
		log_warn(
		    "the checkpoint is complete; pages of those before it could not be given back (criu dedup tries "
		    "it again)");
}

void pages_dedup_restored(struct restore *r, const struct pagemap *map)
{
	struct punching *p = &((struct dedup_state *)restore_state(r, &pages_dedup_subsys))->punching;

	if (!r->opts->auto_dedup || image_dir_streams(r->dir))
		return;
	p->arena = r->arena;
	for (size_t i = 0; i <= map->n_lenders; i++) {
		const struct pagemap *from = i ? map->lenders[i - 1] : map;
		struct ranges list = { 0 };

		for (size_t k = 0; k < map->n_runs; k++)
			if ((map->runs[k].in ?: map) == from && has_itself(&map->runs[k]))
				ranges_push(r->arena, &list, map->runs[k].stored,
				            map->runs[k].stored + map->runs[k].n * PAGE_SIZE);
		add_punch(p, from, &list);
	}
}

static void note_restored(struct restore *r)
{
	((struct dedup_state *)restore_state(r, &pages_dedup_subsys))->committed = true;
}

static void punch_restored(struct restore *r)
{
	struct dedup_state *s = restore_state(r, &pages_dedup_subsys);

	if (!s->committed || !r->opts->auto_dedup)
		return;
	if (r->opts->lazy_pages)
		log_info("--auto-dedup: with --lazy-pages no page is given back, since most are still to come");
	else if (punch_all(&s->punching))
		log_warn("the tree is restored, and runs; not all of its pages could be given back (--auto-dedup)");
}

const struct subsys pages_dedup_subsys = {
	.name = "pages that are not needed any more",
	.state = { .dump = sizeof(struct dedup_state), .restore = sizeof(struct dedup_state) },
	.pre_committed = note_committed,
	.after_commit = note_committed,
	.end = dedup_chain,
	.committed = note_restored,
	.leave = punch_restored,
};
