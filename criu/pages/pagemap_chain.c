/* SPDX-License-Identifier: GPL-2.0-only */
/* Chains of checkpoints: pages that are not in this one, found in those before it. */
#include <inttypes.h>

#include "lib/log.h"
#include "pages/pagemap.h"
#include "pages/pages_file.h"
#include "tree/inventory.h"

static void note_lender(struct arena *a, struct pagemap *map, struct pagemap *lender)
{
	for (size_t i = map->n_lenders; i-- > 0;)
		if (map->lenders[i] == lender)
			return;
	arena_push(a, &map->lenders, &map->n_lenders, lender);
}

static int lacks_page(const struct pagemap *map, const struct pagemap *theirs, raddr_t at)
{
	return log_errno(-EBADMSG,
	                 "%s: the page at %" PRIx64 " is said to be in the checkpoint before it, and %s/%s has none",
	                 map->name, at, image_dir_path(theirs->dir), theirs->name);
}

/* The parts of one run, out of the runs of the checkpoint before. *k: the first of these that may reach into it. */
static int find_run(struct arena *a, struct pagemap *map, const struct page_run *run, const struct pagemap *theirs,
                    size_t *k, struct page_run **runs, size_t *n)
{
	raddr_t at = run->at, end = page_run_end(run);

	while (*k < theirs->n_runs && page_run_end(&theirs->runs[*k]) <= at)
		(*k)++;
	for (size_t i = *k; at < end; i++) {
		const struct page_run *p = &theirs->runs[i];
		struct page_run part;

		if (i == theirs->n_runs || p->at > at || p->with_parent || p->in_file || p->later)
			return lacks_page(map, theirs, at);
		part = page_run_part(p, at, MIN(page_run_end(p), end));
		part.in = p->in ?: (struct pagemap *)theirs;
		part.cow = run->cow;
		part.thp = run->thp;
		note_lender(a, map, part.in);
		arena_push(a, runs, n, part);
		at = page_run_end(&part);
	}
	return 0;
}

static int find_runs(struct arena *a, struct pagemap *map, const struct pagemap *theirs)
{
	struct page_run *runs = NULL;
	size_t n = 0, k = 0;
	int err = 0;

	for (size_t i = 0; !err && i < map->n_runs; i++) {
		if (map->runs[i].in_prev)
			err = find_run(a, map, &map->runs[i], theirs, &k, &runs, &n);
		else
			arena_push(a, &runs, &n, map->runs[i]);
	}
	map->runs = runs;
	map->n_runs = n;
	map->in_prev = false;
	return err;
}

static int read_links(struct image_dir *dir, struct arena *a, enum image_type type, uint64_t id, uint64_t limit,
                      struct pagemap **mapp)
{
	struct pagemap *theirs;
	struct image_dir *prev;
	int err;

	*mapp = NULL;
	err = pagemap_read(dir, a, type, id, limit, mapp);
	err = err ?: pages_file_check(dir, *mapp);
	if (err || !(*mapp)->in_prev)
		return err;
	err = inventory_prev(dir, a, &prev);
	if (err)
		return err;
	err = read_links(prev, a, type, id, limit, &theirs);
	if (err == -ENOENT && !theirs)
		return log_errno(-EBADMSG, "%s: has pages in the checkpoint before it, where %s has no such image",
		                 (*mapp)->name, image_dir_path(prev));
	return err ?: find_runs(a, *mapp, theirs);
}

/* A checkpoint may lack what a later one has in its place; the later one has to be whole. */
static int find_lost(const struct pagemap *map)
{
	bool any = map->gone;

	for (size_t i = 0; i < map->n_lenders; i++)
		any |= map->lenders[i]->gone;
	for (size_t i = 0; any && i < map->n_runs; i++)
		if (map->runs[i].gone)
			return log_errno(-ENODATA,
			                 "%s: the pages from %" PRIx64 " on were given back (criu dedup, --auto-dedup; "
			                 "punched.img in %s): only a later checkpoint of the chain can be restored, "
			                 "or none, if a restore has done that",
			                 map->name, map->runs[i].at, image_dir_path((map->runs[i].in ?: map)->dir));
	return 0;
}

int pagemap_read_chain(struct image_dir *dir, struct arena *a, enum image_type type, uint64_t id, uint64_t limit,
                       struct pagemap **mapp)
{
	int err = read_links(dir, a, type, id, limit, mapp);

	return err ?: find_lost(*mapp);
}
