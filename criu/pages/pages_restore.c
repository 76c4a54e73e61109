/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of a restore: pagemaps are read and checked before anything is started, their pages go into memory later.
 */
#include <inttypes.h>

#include "arch/arch_vdso.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/pages.h"
#include "pages/pages_dedup.h"
#include "pages/pages_file.h"
#include "pages/process_memory.h"

int pages_read_task(struct restore *r, const struct task *t, struct pagemap **mapp)
{
	int err =
	    pagemap_read_chain(r->dir, r->arena, IMG_PAGEMAP, (uint64_t)t->vpid.v, arch_task_size(t->compat), mapp);

	if (err == -ENOENT && !*mapp)
		return log_errno(err, "%s: pagemap-%d.img", task_name(t), t->vpid.v);
	if (!err && (*mapp)->later && !r->opts->lazy_pages)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: %s has pages that are not in the checkpoint, but still where it was dumped "
		                   "(dump --lazy-pages): restore with --lazy-pages, and criu lazy-pages --page-server",
		                   task_name(t), (*mapp)->name);
	if (!err)
		pages_dedup_restored(r, *mapp);
	return err;
}

int pages_read_object(struct restore *r, uint64_t id, struct pagemap **mapp)
{
	int err = pagemap_read_chain(r->dir, r->arena, IMG_SHMEM_PAGEMAP, id, INT64_MAX & ~(PAGE_SIZE - 1), mapp);

	if (err == -ENOENT && !*mapp) {
		*mapp = arena_new_of(r->arena, struct pagemap);
		return 0;
	}
	if (!err && ((*mapp)->later || (*mapp)->in_file || (*mapp)->with_parent))
		return log_errno(-EBADMSG, "%s: pages of shared memory are not in the checkpoint", (*mapp)->name);
	if (!err)
		pages_dedup_restored(r, *mapp);
	return err;
}

static int no_memory(void)
{
	return log_errno(-ENOMEM, "out of memory for a transfer of pages");
}

int pages_read_run(const struct pagemap *map, const struct page_run *run, uint8_t *buf)
{
	struct page_transfer t = { .source = run->later ? NULL : pages_file_source(run->in ?: map) };
	int err = 0;

	if (run->later)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: the pages at %" PRIx64 " are needed before the tasks run, and are not in the "
		                   "checkpoint (dump --lazy-pages): dump without it",
		                   map->name, run->at);
	err = t.source ? t.source->ops->open(t.source, &t) : no_memory();

	if (!err)
		err = t.source->ops->read(t.source, run, 1, buf);
	page_transfer_free(&t);
	return err;
}

/* Moves what was listed, if anything, and counts it. */
static int move_into_memory(struct restore *r, struct page_transfer *t, const struct page_compare *counts)
{
	int err = t->n_pages ? page_move(t, 1) : 0;

	r->stats->pages_restored += t->n_pages - counts->same;
	r->stats->pages_compared += counts->compared;
	r->stats->pages_skipped_cow += counts->same;
	return err;
}

int pages_fill_task(struct restore *r, const struct pagemap *map, pid_t pid, const struct page_run *runs, size_t n)
{
	struct page_compare counts = { 0 };
	struct page_transfer t = { .source = pages_file_source(map), .sink = process_memory_sink(pid, &counts) };
	int err = t.source && t.sink ? 0 : no_memory();

	for (size_t i = 0; !err && i < n; i++)
		err = pages_add(&t, &runs[i]);
	if (!err)
		err = move_into_memory(r, &t, &counts);
	page_transfer_free(&t);
	/* What went wrong was said by a worker thread, which does not know of the images. */
	return err ? log_errno(err, "pid %d: filling its memory from %s", pid, map->name) : 0;
}

void pages_done_with(struct pagemap *map)
{
	if (!--map->users && map->n_pages)
		image_pages_forget(map->dir, map->pages_id);
}

/* Those of the runs whose pages the pages file of `from` has. */
static int fill_from(struct restore *r, const struct pagemap *map, const struct pagemap *from,
                     const struct page_run *runs, size_t n, struct page_run *room)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if ((runs[i].in ?: map) == from)
			room[k++] = runs[i];
	return k ? pages_fill_task(r, from, getpid(), room, k) : 0;
}

int pages_fill_object(struct restore *r, struct pagemap *map, void *at, uint64_t size)
{
	struct page_run *runs = arena_array(r->arena, struct page_run, map->n_runs);
	struct page_run *room = arena_array(r->arena, struct page_run, map->n_runs);
	size_t n = 0;
	int err;

	/* A mapping that is gone may have been the only one to reach beyond size; the object had more data then. */
	for (; n < map->n_runs && map->runs[n].at < size; n++) {
		runs[n] = map->runs[n];
		runs[n].n = MIN(runs[n].n, (size - runs[n].at) / PAGE_SIZE);
		runs[n].at += (uintptr_t)at;
	}
	err = fill_from(r, map, map, runs, n, room);
	for (size_t i = 0; !err && i < map->n_lenders; i++)
		err = fill_from(r, map, map->lenders[i], runs, n, room);
	if (!err)
		pages_done_with(map);
	return err;
}
