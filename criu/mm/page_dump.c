/* SPDX-License-Identifier: GPL-2.0-only */
/* The pages of a tree: those of each task with a memory of its own (page_scan.c), and those of shared objects. */
#include "lib/clock.h"
#include "mm/guard.h"
#include "mm/mm.h"
#include "mm/page_equal.h"
#include "mm/page_once.h"
#include "mm/page_scan.h"
#include "mm/shmem.h"
#include "pages/pages.h"
#include "tree/vma_kind.h"

/* Of tasks with copies, when those are read. */
static int scan_all_equal(struct dump *d)
{
	bool wanted = page_once_wants_equal(d);
	int err = 0;

	for (size_t i = 0; wanted && !err && i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		if (t->state != TASK_DEAD && tree_first_vm(&d->tree, t) == t && page_equal_most(t))
			err = page_scan_equal(d, t);
	}
	return err;
}

/* Whether userfaultfd watches a mapping of some object. */
static bool any_object_is_watched(const struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		const struct vma_list *list = t->state == TASK_DEAD ? NULL : t->dump->vmas;

		for (size_t k = 0; list && k < list->n; k++)
			if (list->v[k].watched && !(list->v[k].entry->status & VMA_ANON_PRIVATE))
				return true;
	}
	return false;
}

static int scan_all(struct dump *d, struct pages_dump *pd, enum scan_part part)
{
	struct tree *tree = &d->tree;
	int err = 0;

	for (size_t i = 0; !err && i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (t->state == TASK_DEAD || tree_first_vm(tree, t) != t)
			continue;
		err = page_scan_task(d, t, pd, part);
		if (!err && part == SCAN_COPY)
			guard_sort(t);
		if (!err && part != SCAN_STANDING && d->opts->command != CMD_PRE_DUMP) /* with its guard pages */
			err = image_write_one(d->dir, IMG_MM, (uint64_t)t->vpid.v, t->mm);
	}
	return err;
}

static int list_objects(struct dump *d, struct pages_dump *pd)
{
	int err = 0;

	if (any_object_is_watched(d))
		pages_keep_zeros(pd);
	for (const struct shmem_object *o = shmem_objects(d); !err && o; o = o->hh.next)
		err = pages_dump_object(pd, o->task, o->path, shmem_object_ino(o), shmem_object_id(d, o));
	return err;
}

int mm_dump_pages(struct dump *d, struct pages_dump **later)
{
	uint64_t start = clock_now_us();
	bool hold = d->lets_run_early;
	struct pages_dump *pd;
	int err = hold ? 0 : scan_all_equal(d);

	err = err ?: pages_dump_start(d, &pd);
	if (err)
		return err;
	if (hold)
		pages_hold(pd);
	err = scan_all(d, pd, hold ? SCAN_STANDING : SCAN_ALL) ?: list_objects(d, pd);
	if (hold && !err)
		err = pages_read_now(pd);
	if (hold && !err)
		*later = pd;
	else
		err = pages_dump_end(pd, err);
	d->stats->memdump_time = clock_now_us() - start;
	return err;
}

int mm_dump_copies(struct dump *d, struct pages_dump *pd)
{
	uint64_t start = clock_now_us();
	int err = scan_all_equal(d);

	err = pages_dump_end(pd, err ?: scan_all(d, pd, SCAN_COPY));
	d->stats->memdump_time += clock_now_us() - start;
	return err;
}

int mm_list_pages(struct dump *d, struct pages_dump **pdp)
{
	int err = pages_dump_start(d, pdp);

	if (err)
		return err;
	if (d->reads_running)
		pages_of_running(*pdp);
	return scan_all(d, *pdp, SCAN_ALL);
}
