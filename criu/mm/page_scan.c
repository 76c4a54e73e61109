/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which pages of a tree have to be stored; pages/ stores them. Of a task PAGEMAP_SCAN tells ranges (Linux 6.7); before
 * it, /proc/PID/pagemap is read page by page. Both know pages that a fork still shares by their frames.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/shmem.h"
#include "pages/pages.h"
#include "uapi/pagemap.h"

#define REGIONS      512U /* a call of PAGEMAP_SCAN */
#define WINDOW_PAGES 512U /* 2 MiB of addresses, 4 KiB of pagemap */

/* A part of /proc/PID/pagemap. */
struct window {
	int fd;
	uint64_t start; /* 0: nothing was read yet; no task has pages there */
	uint64_t entry[WINDOW_PAGES];
};

struct scanner {
	const struct task *task;
	struct page_transfer *transfer;
	uint64_t scanned;          /* pages that were looked at */
	bool refused;              /* something that cannot be dumped was found, and named */
	const struct vma *v, *end; /* mappings of the span that are still ahead */
	uint64_t huge_left;        /* without PAGEMAP_SCAN: bytes of v in huge pages that were not seen yet */
	struct window own, parent; /* parent.fd: -1 where there is no process to share with */
	struct page_region regions[REGIONS];
};

static int window_at(struct window *w, uint64_t addr)
{
	uint64_t start = round_down(addr, WINDOW_PAGES * PAGE_SIZE);
	ssize_t n;

	if (w->start == start && start)
		return 0;
	n = io_pread_all(w->fd, w->entry, sizeof(w->entry), (off_t)(start / PAGE_SIZE * sizeof(*w->entry)));
	if (n < 0)
		return (int)n;
	memset((char *)w->entry + n, 0, sizeof(w->entry) - (size_t)n); /* it ends where addresses end */
	w->start = start;
	return 0;
}

static int pagemap_error(const struct scanner *sc, int err, uint64_t at)
{
	return log_errno(err, "%s: pread of /proc/PID/pagemap for %" PRIx64, task_name(sc->task), at);
}

/* The same frame (or place in swap), which the kernel shows to the privileged alone. */
static bool is_shared(uint64_t own, uint64_t parent)
{
	const uint64_t same = PM_PFN | PM_PRESENT | PM_SWAP;

	return (own & PM_PFN) && !((own | parent) & PM_EXCLUSIVE) && (own & same) == (parent & same);
}

/*
 * process_vm_readv(2) pins pages, and to pin one that a fork still shares the kernel gives the task a copy of its own
 * first (linux/mm/gup.c, gup_must_unshare(), Linux 5.19): the dump would undo the sharing, and take the memory for it.
 * /proc/PID/mem is slower and leaves it.
 */
static bool is_left_shared(const struct scanner *sc, size_t i)
{
	uint64_t own = sc->own.entry[i];

	return (own & PM_PRESENT) && !(own & (PM_EXCLUSIVE | PM_FILE));
}

static bool is_cow(const struct scanner *sc, size_t i)
{
	return sc->parent.fd >= 0 && is_shared(sc->own.entry[i], sc->parent.entry[i]);
}

/* Adds pages to be stored, all with what `like` says, cut where sharing begins and ends. */
static int add_runs(struct scanner *sc, uint64_t start, uint64_t end, const struct page_run *like)
{
	int err = 0;

	while (!err && start < end) {
		size_t i = start / PAGE_SIZE % WINDOW_PAGES, k = i;
		size_t last = MIN(WINDOW_PAGES, i + (end - start) / PAGE_SIZE);
		struct page_run run = *like;
		bool force;

		err = window_at(&sc->own, start);
		if (!err && sc->parent.fd >= 0)
			err = window_at(&sc->parent, start);
		if (err)
			return pagemap_error(sc, err, start);
		if (sc->parent.fd >= 0 && (sc->own.entry[i] & PM_PFN))
			pages_set_knows_cow(sc->transfer);
		force = is_left_shared(sc, i);
		run.cow = is_cow(sc, i);
		while (k < last && is_left_shared(sc, k) == force && is_cow(sc, k) == run.cow)
			k++;
		run.at = start;
		run.n = k - i;
		run.force |= force;
		err = pages_add(sc->transfer, &run);
		start += (k - i) * PAGE_SIZE;
	}
	return err;
}

/* The first of a task is named, and the scan goes on to find what other tasks have some. */
static void refuse_guard(struct scanner *sc, uint64_t start)
{
	if (!sc->refused)
		log_refusal(-ENOTSUP,
		            "%s: guard pages (MADV_GUARD_INSTALL), the first at %" PRIx64 ", are not supported yet; "
		            "take them away (MADV_GUARD_REMOVE) before the dump",
		            task_name(sc->task), start);
	sc->refused = true;
}

/* Pages of one mapping that the kernel says the same of. */
static int add_region(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, uint64_t cat)
{
	struct page_run like = { .thp = cat & PAGE_IS_HUGE, .force = !(v->entry->prot & PROT_READ) };

	sc->scanned += (end - start) / PAGE_SIZE;
	if (cat & PAGE_IS_GUARD) {
		refuse_guard(sc, start);
		return 0;
	}
	if (v->pages == VMA_PAGES_ANON) {
		if (cat & PAGE_IS_PFNZERO)
			return 0;
		like.drop_zero = true;
	} else if (cat & PAGE_IS_FILE) {
		return 0;
	}
	return add_runs(sc, start, end, &like);
}

/* A region may go on over the end of a mapping. */
static int take_region(struct scanner *sc, uint64_t start, uint64_t end, uint64_t cat)
{
	int err = 0;

	while (!err && start < end) {
		uint64_t stop;

		while (sc->v < sc->end && sc->v->entry->end <= start)
			sc->v++;
		if (sc->v == sc->end)
			break;
		stop = MIN(end, sc->v->entry->end);
		start = MAX(start, sc->v->entry->start);
		if (start < stop)
			err = add_region(sc, sc->v, start, stop, cat);
		start = stop;
	}
	return err;
}

/* The address up to which the kernel has looked, or a negative errno. */
static int scan_some(struct scanner *sc, struct pm_scan_arg *arg)
{
	int n = ioctl(sc->own.fd, PAGEMAP_SCAN, arg);

	if (n < 0 && errno == EINVAL && (arg->return_mask & PAGE_IS_GUARD)) { /* before Linux 6.16 */
		arg->return_mask &= ~(uint64_t)PAGE_IS_GUARD;
		arg->category_anyof_mask &= ~(uint64_t)PAGE_IS_GUARD;
		n = ioctl(sc->own.fd, PAGEMAP_SCAN, arg);
	}
	return n < 0 ? -errno : n;
}

static int scan_span(struct scanner *sc, uint64_t start, uint64_t end)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)sc->regions,
		.vec_len = REGIONS,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED | PAGE_IS_GUARD,
		.return_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO | PAGE_IS_HUGE | PAGE_IS_GUARD,
	};

	while (arg.start < end) {
		int n = scan_some(sc, &arg);

		if (n == -ENOTTY)
			return n;
		if (n < 0)
			return log_errno(n, "%s: PAGEMAP_SCAN of %" PRIx64 "-%" PRIx64, task_name(sc->task),
			                 (uint64_t)arg.start, end);
		for (int i = 0; i < n; i++) {
			int err = take_region(sc, sc->regions[i].start, sc->regions[i].end, sc->regions[i].categories);

			if (err)
				return err;
		}
		if (arg.walk_end <= arg.start)
			return log_errno(-EBADMSG, "%s: PAGEMAP_SCAN stays at %" PRIx64, task_name(sc->task),
			                 (uint64_t)arg.start);
		arg.start = arg.walk_end;
	}
	return 0;
}

/* ---- without PAGEMAP_SCAN ---- */

static uint64_t categories_of(uint64_t entry)
{
	if (entry & PM_GUARD)
		return PAGE_IS_GUARD;
	return (entry & PM_PRESENT ? PAGE_IS_PRESENT : 0) | (entry & PM_SWAP ? PAGE_IS_SWAPPED : 0) |
	       (entry & PM_FILE ? PAGE_IS_FILE : 0);
}

/* A window of pages that are all there is taken for a huge page as long as smaps counts more of them. */
static uint64_t huge_of(struct scanner *sc, const struct vma *v)
{
	const struct window *w = &sc->own;
	const uint64_t full = PAGE_IS_PRESENT;

	if (sc->huge_left < HUGE_SIZE || w->start < v->entry->start || w->start + HUGE_SIZE > v->entry->end)
		return 0;
	for (size_t i = 0; i < WINDOW_PAGES; i++)
		if (categories_of(w->entry[i]) != full)
			return 0;
	sc->huge_left -= HUGE_SIZE;
	return PAGE_IS_HUGE;
}

static int read_window(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end)
{
	int err = window_at(&sc->own, start);
	uint64_t huge = err ? 0 : huge_of(sc, v);

	if (err)
		return pagemap_error(sc, err, start);
	while (!err && start < end) {
		size_t i = start / PAGE_SIZE % WINDOW_PAGES, k = i;
		size_t last = i + (end - start) / PAGE_SIZE;
		uint64_t cat = categories_of(sc->own.entry[i]);

		while (k < last && categories_of(sc->own.entry[k]) == cat)
			k++;
		if (cat & ~(uint64_t)PAGE_IS_FILE)
			err = add_region(sc, v, start, start + (k - i) * PAGE_SIZE, cat | huge);
		start += (k - i) * PAGE_SIZE;
	}
	return err;
}

static int read_vma(struct scanner *sc, const struct vma *v)
{
	uint64_t at = v->entry->start, end = v->entry->end, next;
	int err = 0;

	sc->huge_left = v->anon_huge;
	for (; !err && at < end; at = next) {
		next = MIN(end, round_down(at, WINDOW_PAGES * PAGE_SIZE) + WINDOW_PAGES * PAGE_SIZE);
		err = read_window(sc, v, at, next);
	}
	return err;
}

/* ---- the tree ---- */

/* Mappings one behind the other whose pages may have to be stored are looked at in one go. */
static int scan_vmas(struct scanner *sc, const struct vma *v, const struct vma *end)
{
	int err;

	sc->v = v;
	sc->end = end;
	err = scan_span(sc, v->entry->start, end[-1].entry->end);
	if (err != -ENOTTY)
		return err;
	for (err = 0; !err && v < end; v++)
		err = read_vma(sc, v);
	return err;
}

static bool is_scanned(const struct vma *v)
{
	return v->pages == VMA_PAGES_ANON || v->pages == VMA_PAGES_COPIES;
}

static int scan_vma_list(struct scanner *sc, const struct vma_list *list)
{
	int err = 0;

	for (size_t i = 0, k; !err && i < list->n; i = k) {
		const struct vma *v = &list->v[i];
		struct page_run all = { .at = v->entry->start, .n = (v->entry->end - v->entry->start) / PAGE_SIZE };

		for (k = i; k < list->n && is_scanned(&list->v[k]); k++)
			;
		if (k > i)
			err = scan_vmas(sc, v, &list->v[k]);
		else if (v->pages == VMA_PAGES_ALL)
			err = pages_add(sc->transfer, &all);
		if (k == i)
			k++;
	}
	return err;
}

/* The task from whose memory this one's may have been copied, or NULL. */
static const struct task *copied_from(struct dump *d, struct task *t)
{
	const struct task *p = t->parent;

	if (!p || p->state == TASK_DEAD || tree_first_vm(&d->tree, p) == t)
		return NULL;
	return p;
}

static int open_pagemap(const struct task *t)
{
	int fd = openat(t->dump->proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? log_errno(-errno, "%s: open of /proc/%d/pagemap", task_name(t), t->pid) : fd;
}

/* Finds the pages of a task that have to be stored. */
static int scan_task(struct dump *d, struct task *t, struct pages_dump *pd)
{
	const struct task *p = copied_from(d, t);
	_cleanup_free_ struct scanner *sc = calloc(1, sizeof(*sc));
	_cleanup_close_ int own = open_pagemap(t), parent = own >= 0 && p ? open_pagemap(p) : -1;
	int err = 0;

	if (own < 0 || (p && parent < 0))
		return own < 0 ? own : parent;
	if (!sc)
		return log_errno(-ENOMEM, "%s: out of memory for finding its pages", task_name(t));
	sc->task = t;
	sc->own.fd = own;
	sc->parent.fd = parent;
	err = pages_dump_task(pd, t, &sc->transfer) ?: scan_vma_list(sc, t->dump->vmas);
	d->stats->pages_scanned += sc->scanned;
	if (sc->refused)
		pages_dump_refuse(pd);
	return err;
}

int mm_dump_pages(struct dump *d)
{
	uint64_t start = clock_now_us();
	struct tree *tree = &d->tree;
	struct pages_dump *pd;
	int err = pages_dump_start(d, &pd);

	if (err)
		return err;
	for (size_t i = 0; !err && i < tree->n_tasks; i++) {
		struct task *t = tree->tasks[i];

		if (t->state != TASK_DEAD && tree_first_vm(tree, t) == t)
			err = scan_task(d, t, pd);
	}
	for (const struct shmem_object *o = shmem_objects(d); !err && o; o = o->hh.next)
		err = pages_dump_object(pd, o->task, o->path, (uint32_t)o->ino, shmem_object_id(d, o));
	err = pages_dump_end(pd, err);
	d->stats->memdump_time = clock_now_us() - start;
	return err;
}
