/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Of a task PAGEMAP_SCAN tells ranges (Linux 6.7); before it, /proc/PID/pagemap is read page by page. Both know pages
 * that a fork still shares by their frames.
 */
#include "mm/page_scan.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "arch_page.h"
#include "lib/io.h"
#include "lib/log.h"
#include "mm/guard.h"
#include "mm/lazy_memory.h"
#include "mm/mm.h"
#include "mm/page_equal.h"
#include "mm/page_once.h"
#include "mm/snapshot.h"
#include "mm/track.h"
#include "mm/vma_uprobes.h"
#include "pages/pages.h"
#include "pages/pages_equal.h"
#include "tree/inventory.h"
#include "uapi/pagemap.h"

#define REGIONS      512U /* a call of PAGEMAP_SCAN */
#define WINDOW_PAGES 512U /* 2 MiB of addresses, 4 KiB of pagemap */

/* A part of /proc/PID/pagemap. */
struct window {
	int fd;
	uint64_t start; /* 0: nothing was read yet; no task has pages there */
	uint64_t entry[WINDOW_PAGES];
};

/*
 * Of a mapping of a file the kernel says which pages are the task's own if it is asked for PAGE_IS_FILE, and then looks
 * at each page. Where smaps counts none (LOOK_FOR_ANY), it is asked first whether there is one that smaps does not
 * count: in swap, a guard, or the page of zeros.
 */
enum look {
	LOOK_FOR_PAGES,
	LOOK_FOR_COPIES,
	LOOK_FOR_ANY,
	LOOK_FOR_GUARDS,
	LOOK_NOT_ALL_PAGES,
	LOOK_NOT_SAVED,
	LOOK_NOT
};

struct scanner {
	struct dump *d;
	const struct task *task;
	struct page_transfer *transfer;
	enum scan_part part;
	uint64_t scanned;   /* pages that were looked at */
	bool guards_hidden; /* PAGEMAP_SCAN knows no guard pages: they show as swap */
	bool guess_warned;
	bool uprobed;              /* uprobes were hit in the task */
	const struct vma *v, *end; /* mappings of the span that are still ahead */
	uint64_t huge_left;        /* without PAGEMAP_SCAN: bytes of v in huge pages that were not seen yet */
	struct window own, parent; /* parent.fd: -1 where there is no process to share with */
	bool lazy;                 /* memory may be left out: --lazy-pages */
	bool once;                 /* what is shared with the parent process is stored with its pages alone */
	const struct vma *parent_v, *parent_end; /* its mappings that are still ahead */
	struct ranges unwritten;                 /* since the dump before, and still ahead */
	struct equal_runs equal;                 /* to files, and still ahead */
	bool pre;                                /* a pre-dump */
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

/* Whether the page at run->at is equal to a file's; *endp is brought down to where that changes. */
static void find_in_file(struct scanner *sc, struct page_run *run, raddr_t *endp)
{
	const struct page_run *equal = page_equal_at(&sc->equal, run->at, endp);

	run->in_file = equal;
	run->file_sums = equal ? page_run_part(equal, run->at, page_run_end(equal)).file_sums : NULL;
}

/* Whether the page at `at` was not written to since the dump before; *endp is brought down to where that changes. */
static bool is_in_prev(struct scanner *sc, uint64_t at, uint64_t *endp)
{
	struct ranges *u = &sc->unwritten;

	while (u->n && u->r->end <= at) {
		u->r++;
		u->n--;
	}
	if (!u->n)
		return false;
	*endp = MIN(*endp, u->r->start > at ? u->r->start : u->r->end);
	return u->r->start <= at;
}

static int add_run(struct scanner *sc, const struct page_run *run)
{
	if (run->in_prev)
		sc->d->stats->pages_skipped_prev += run->n;
	return run->with_parent || run->in_file || run->in_prev || run->later ? pages_add_elsewhere(sc->transfer, run)
	                                                                      : pages_add(sc->transfer, run);
}

/* Nothing more is to be known of pages that the checkpoint before has. */
static int add_unwritten(struct scanner *sc, struct page_run run, uint64_t end)
{
	run.n = (end - run.at) / PAGE_SIZE;
	run.later = false;
	return add_run(sc, &run);
}

/* Each page of a task that has a copy is shared with that: to know more would take as long as to copy the tables. */
static int add_shared(struct scanner *sc, uint64_t start, uint64_t end, const struct page_run *like)
{
	int err = 0;

	for (raddr_t next; !err && start < end; start = next) {
		struct page_run run = *like;

		next = end;
		run.at = start;
		if (like->in_prev && is_in_prev(sc, start, &next)) {
			err = add_unwritten(sc, run, next);
			continue;
		}
		run.in_prev = false;
		run.force = true;
		run.with_parent = false;
		find_in_file(sc, &run, &next);
		run.n = (next - start) / PAGE_SIZE;
		err = run.in_file ? pages_add_elsewhere(sc->transfer, &run) : pages_add(sc->transfer, &run);
	}
	return err;
}

/* Adds pages to be stored, all with what `like` says, cut where sharing begins and ends. */
static int add_runs(struct scanner *sc, uint64_t start, uint64_t end, const struct page_run *like)
{
	int err = 0;

	if (sc->part == SCAN_COPY && sc->parent.fd < 0)
		return add_shared(sc, start, end, like);
	while (!err && start < end) {
		uint64_t next = end;
		bool in_prev = like->in_prev && is_in_prev(sc, start, &next), force;
		size_t i = start / PAGE_SIZE % WINDOW_PAGES, k = i, last;
		struct page_run run = *like;

		run.at = start;
		if (in_prev && sc->parent.fd < 0) {
			err = add_unwritten(sc, run, next);
			start = next;
			continue;
		}
		find_in_file(sc, &run, &next);
		last = MIN(WINDOW_PAGES, i + (next - start) / PAGE_SIZE);
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
		run.n = k - i;
		run.force |= force;
		run.with_parent &= run.cow;
		run.in_prev = in_prev;
		run.in_file &= !run.with_parent;
		run.later = !in_prev && like->later && lazy_dump_run(sc->d, sc->task, &run);
		if (run.later)
			run.drop_zero = false;
		err = add_run(sc, &run);
		start += (k - i) * PAGE_SIZE;
	}
	return err;
}

/* Whether pages of it are stored, with the task's own. */
static bool is_scanned(const struct vma *v)
{
	return v->pages == VMA_PAGES_ANON || v->pages == VMA_PAGES_COPIES;
}

/* Cut where the parent process's mappings differ in sort: it may not store what the child leaves to it. */
static int add_once(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, const struct page_run *like)
{
	struct page_run run = *like;
	int err = 0;

	for (raddr_t next; !err && start < end; start = next) {
		next = end;
		run.with_parent = page_once_may_be(v, &sc->parent_v, sc->parent_end, start, &next);
		err = add_runs(sc, start, next, &run);
	}
	return err;
}

/* Code that differs from its file, which is rare: by breakpoints of uprobes alone it is the file's. */
static int add_code(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, const struct page_run *like)
{
	int err = 0;

	for (; !err && start < end; start += PAGE_SIZE) {
		err = vma_uprobes_made_page(sc->d, sc->task, v->entry, start, sc->uprobed);
		err = err > 0 ? 0 : err ?: add_runs(sc, start, start + PAGE_SIZE, like);
	}
	return err;
}

/* Pages that are there, or in swap. */
static int add_pages(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, uint64_t cat)
{
	bool hugetlb = v->entry->flags & MAP_HUGETLB;
	struct page_run like = {
		.thp = cat & PAGE_IS_HUGE && !hugetlb && !sc->pre,
		.force = !(v->entry->prot & PROT_READ),
		.in_prev = sc->unwritten.n && !v->watched,
		.now = sc->part == SCAN_STANDING,
	};

	if (!is_scanned(v))
		return 0;
	sc->scanned += (end - start) / PAGE_SIZE;
	if (v->pages == VMA_PAGES_ANON) {
		if (cat & PAGE_IS_PFNZERO && !v->watched)
			return 0;
		like.drop_zero = !hugetlb && !v->watched; /* a huge page is there as a whole, or not */
		like.later = sc->lazy && lazy_dump_mapping(v);
	} else if (cat & PAGE_IS_FILE) {
		return 0;
	}
	like.drop_zero |= sc->pre; /* the next dump stores what is not listed now */
	if ((v->entry->prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC && v->pages == VMA_PAGES_COPIES)
		return add_code(sc, v, start, end, &like);
	return sc->once ? add_once(sc, v, start, end, &like) : add_runs(sc, start, end, &like);
}

static int is_guard(struct scanner *sc, uint64_t at)
{
	int err = window_at(&sc->own, at), guess;
	uint64_t entry = sc->own.entry[at / PAGE_SIZE % WINDOW_PAGES];

	if (err)
		return pagemap_error(sc, err, at);
	if (guard_is_shown(entry) || entry & PM_PFN)
		return guard_is_shown(entry);
	guess = guard_by_reading(sc->task, at);
	if (guess > 0 && !sc->guess_warned) {
		log_warn("%s: the page at %" PRIx64
		         ", and others perhaps, cannot be read and is taken for a guard page "
		         "(MADV_GUARD_INSTALL): this kernel shows them to CAP_SYS_ADMIN alone",
		         task_name(sc->task), at);
		sc->guess_warned = true;
	}
	return guess;
}

/* What shows as swap, where guard pages do as well. */
static int add_swapped(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, uint64_t cat)
{
	int guard = is_guard(sc, start), err = 0;

	for (uint64_t at = start; !err && guard >= 0 && at < end;) {
		bool now = guard;

		for (start = at; at < end && guard == now; guard = at < end ? is_guard(sc, at) : 0)
			at += PAGE_SIZE;
		if (guard < 0)
			return guard;
		if (now)
			guard_note(sc->d, sc->task, start, at);
		else
			err = add_pages(sc, v, start, at, cat);
	}
	return guard < 0 ? guard : err;
}

/* What shows as swap where userfaultfd has left its marks, which have nothing behind them: a reader would wait. */
static int add_unmarked(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, uint64_t cat)
{
	int err = 0;

	for (uint64_t at = start; !err && at < end; at += PAGE_SIZE) {
		uint64_t place;

		err = window_at(&sc->own, at);
		if (err)
			return pagemap_error(sc, err, at);
		place = sc->own.entry[at / PAGE_SIZE % WINDOW_PAGES] & PM_PFN;
		if (guard_is_shown(sc->own.entry[at / PAGE_SIZE % WINDOW_PAGES]))
			guard_note(sc->d, sc->task, at, at + PAGE_SIZE);
		else if (place != PM_MARK_WP && place != PM_MARK_POISON)
			err = add_pages(sc, v, at, at + PAGE_SIZE, cat);
	}
	return err;
}

/* Pages of one mapping that the kernel says the same of. */
static int add_region(struct scanner *sc, const struct vma *v, uint64_t start, uint64_t end, uint64_t cat)
{
	if (sc->part == SCAN_EQUAL)
		return cat & PAGE_IS_PRESENT ? add_pages(sc, v, start, end, cat) : 0;
	if (v->watched && (cat & (PAGE_IS_SWAPPED | PAGE_IS_PRESENT)) == PAGE_IS_SWAPPED)
		return add_unmarked(sc, v, start, end, cat);
	if (sc->guards_hidden && (cat & (PAGE_IS_SWAPPED | PAGE_IS_PRESENT)) == PAGE_IS_SWAPPED)
		return add_swapped(sc, v, start, end, cat);
	if (!(cat & PAGE_IS_GUARD))
		return add_pages(sc, v, start, end, cat);
	guard_note(sc->d, sc->task, start, end);
	return 0;
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
	int n;

	for (;;) {
		uint64_t guard = sc->guards_hidden ? 0 : PAGE_IS_GUARD;

		arg->category_anyof_mask = (arg->category_anyof_mask & ~(uint64_t)PAGE_IS_GUARD) | guard;
		arg->return_mask = (arg->return_mask & ~(uint64_t)PAGE_IS_GUARD) | guard;
		n = ioctl(sc->own.fd, PAGEMAP_SCAN, arg);
		if (n >= 0 || errno != EINVAL || sc->guards_hidden)
			return n < 0 ? -errno : n;
		sc->guards_hidden = true; /* before Linux 6.16 */
	}
}

static int scan_span(struct scanner *sc, uint64_t start, uint64_t end, enum look look)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)sc->regions,
		.vec_len = REGIONS,
		.category_anyof_mask = PAGE_IS_SWAPPED | (look != LOOK_FOR_GUARDS ? PAGE_IS_PRESENT : 0),
		.return_mask = PAGE_IS_PFNZERO | PAGE_IS_HUGE | PAGE_IS_SWAPPED | PAGE_IS_PRESENT |
		               (look == LOOK_FOR_COPIES ? PAGE_IS_FILE : 0),
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
	if (guard_is_shown(entry))
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

/* 1: there is a page in the span that smaps does not count as the task's own, and may be so. */
static int has_uncounted(struct scanner *sc, uint64_t start, uint64_t end)
{
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = start,
		.end = end,
		.vec = (uintptr_t)sc->regions,
		.vec_len = 1,
		.max_pages = 1,
		.category_anyof_mask = PAGE_IS_SWAPPED | PAGE_IS_PFNZERO,
		.return_mask = PAGE_IS_SWAPPED,
	};
	int n = scan_some(sc, &arg);

	return n < 0 && n != -ENOTTY
	           ? log_errno(n, "%s: PAGEMAP_SCAN of %" PRIx64 "-%" PRIx64, task_name(sc->task), start, end)
	           : n;
}

/* Mappings one behind the other that are looked through for the same are so in one go. */
static int scan_vmas(struct scanner *sc, const struct vma *v, const struct vma *end, enum look look)
{
	int err = 0;

	if (look == LOOK_FOR_ANY)
		err = has_uncounted(sc, v->entry->start, end[-1].entry->end);
	if (look == LOOK_FOR_ANY && err >= 0) {
		if (!err)
			return 0;
		look = LOOK_FOR_COPIES;
	}
	sc->v = v;
	sc->end = end;
	err = err < 0 ? err : scan_span(sc, v->entry->start, end[-1].entry->end, look);
	if (err != -ENOTTY)
		return err;
	for (err = 0; !err && v < end; v++)
		err = read_vma(sc, v);
	return err;
}

static enum look look_for_pages(const struct vma *v)
{
	if (v->pages != VMA_PAGES_COPIES)
		return LOOK_FOR_PAGES;
	return v->anonymous || v->watched || v->entry->flags & MAP_HUGETLB ? LOOK_FOR_COPIES : LOOK_FOR_ANY;
}

/* What a mapping is looked through for. */
static enum look look_for(struct scanner *sc, const struct vma *v)
{
	if (sc->part == SCAN_EQUAL)
		return page_equal_may_be(v) && (!sc->task->dump->copy || snapshot_has(v)) ? look_for_pages(v)
		                                                                          : LOOK_NOT;
	if (sc->part == SCAN_STANDING && snapshot_has(v))
		return LOOK_NOT;
	if (sc->part == SCAN_COPY && !snapshot_has(v))
		return LOOK_NOT_SAVED;
	if (is_scanned(v))
		return look_for_pages(v);
	if (v->pages == VMA_PAGES_ALL)
		return LOOK_NOT_ALL_PAGES;
	return guard_may_be_in(sc->d, v) ? LOOK_FOR_GUARDS : LOOK_NOT;
}

static int add_all(struct scanner *sc, const struct page_run *all)
{
	sc->scanned += all->n;
	return pages_add(sc->transfer, all);
}

static int scan_vma_list(struct scanner *sc, const struct vma_list *list)
{
	int err = 0;

	for (size_t i = 0, k; !err && i < list->n; i = k) {
		const struct vma *v = &list->v[i];
		struct page_run all = {
			.at = v->entry->start,
			.n = (v->entry->end - v->entry->start) / PAGE_SIZE,
			.now = sc->part == SCAN_STANDING,
		};
		enum look look = look_for(sc, v);

		for (k = i + 1; k < list->n && look <= LOOK_FOR_GUARDS && look_for(sc, &list->v[k]) == look; k++)
			;
		if (look <= LOOK_FOR_GUARDS)
			err = scan_vmas(sc, v, &list->v[k], look);
		else if (look == LOOK_NOT_ALL_PAGES)
			err = add_all(sc, &all);
		else if (look == LOOK_NOT_SAVED)
			err = pages_add_saved(sc->transfer, v->entry->start, v->entry->end);
	}
	return err;
}

static int open_pagemap(const struct task *t, enum scan_part part)
{
	pid_t copy = part == SCAN_COPY || part == SCAN_EQUAL ? t->dump->copy : 0;
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", copy ?: t->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "%s: open of %s", task_name(t), path) : fd;
}

static void free_scanner(struct scanner *sc)
{
	close(sc->own.fd);
	if (sc->parent.fd >= 0)
		close(sc->parent.fd);
	free(sc);
}

/* once: what is shared with the parent process is listed with it. */
static int make_scanner(struct dump *d, struct task *t, enum scan_part part, bool once, struct scanner **scp)
{
	const struct task *p = page_once_source(d, t);
	struct scanner *sc = calloc(1, sizeof(*sc));
	_cleanup_close_ int own = open_pagemap(t, part), parent = own >= 0 && p ? open_pagemap(p, part) : -1;

	if (own < 0 || (p && parent < 0)) {
		free(sc);
		return own < 0 ? own : parent;
	}
	if (!sc)
		return log_errno(-ENOMEM, "%s: out of memory for finding its pages", task_name(t));
	sc->d = d;
	sc->task = t;
	sc->part = part;
	sc->own.fd = move_fd(&own);
	sc->uprobed = vma_uprobes_were_hit(t->dump->vmas);
	sc->lazy = lazy_dump_task(d, t);
	sc->parent.fd = move_fd(&parent);
	if (p && once) {
		sc->once = true;
		sc->parent_v = p->dump->vmas->v;
		sc->parent_end = sc->parent_v + p->dump->vmas->n;
	}
	*scp = sc;
	return 0;
}

int page_scan_task(struct dump *d, struct task *t, struct pages_dump *pd, enum scan_part part)
{
	/* Of what is read now nothing else is kept: what is only listed would be lost. */
	bool once = part != SCAN_STANDING && page_once_is_wanted(d);
	struct scanner *sc;
	int err = make_scanner(d, t, part, once, &sc);

	if (err)
		return err;
	if (track_unwritten(d, t))
		sc->unwritten = *track_unwritten(d, t);
	if (once)
		sc->equal = page_equal_of(d, t);
	sc->pre = d->opts->command == CMD_PRE_DUMP;
	err = pages_dump_task(pd, t, &sc->transfer) ?: scan_vma_list(sc, t->dump->vmas);
	if (!err && pages_are_only_ours(sc->transfer))
		inventory_only_ours(d);
	d->stats->pages_scanned += sc->scanned;
	free_scanner(sc);
	return err ?: track_arm(d, t);
}

int page_scan_equal(struct dump *d, struct task *t)
{
	struct scanner *sc;
	int err = make_scanner(d, t, SCAN_EQUAL, true, &sc);

	if (err)
		return err;
	err = pages_equal_begin(t, &sc->transfer);
	if (!err)
		err = page_equal_find(d, t, sc->transfer, scan_vma_list(sc, t->dump->vmas));
	free_scanner(sc);
	return err;
}
