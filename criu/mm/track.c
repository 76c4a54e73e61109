/* SPDX-License-Identifier: GPL-2.0-only */
/* The half of tracking that reads: the checkpoint before this one, its tracker, and what was written to since. */
#include "mm/track.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/log.h"
#include "mm/track_task.h"
#include "pages/pages_before.h"
#include "proc/proc.h"
#include "proc/proc_maps.h"
#include "tree/inventory.h"
#include "uapi/pagemap.h"

#define REGIONS 512

struct track_task *track_task(struct track_state *s, struct arena *a, const struct task *t)
{
	struct track_task *one;

	HASH_FIND(hh, s->tasks, &t, sizeof(t), one);
	if (one || !a)
		return one;
	one = arena_new_of(a, struct track_task);
	*one = (struct track_task) { .task = t, .uffd = -1 };
	HASH_ADD_IN(a, hh, s->tasks, task, sizeof(t), one);
	return one;
}

bool track_is_in_chain(const struct dump *d)
{
	return d->opts->prev_images_dir || d->opts->track_mem;
}

const struct ranges *track_unwritten(struct dump *d, const struct task *t)
{
	struct track_task *one = track_task(dump_state(d, &track_subsys), NULL, t);

	return one && one->unwritten.n ? &one->unwritten : NULL;
}

/* ---- the checkpoint before ---- */

/* Writing this one into it, or into one that it is made on top of, would take the pages away that both need. */
static int check_not_own(struct dump *d, struct image_dir *prev)
{
	int err = 0;

	while (!err) {
		if (image_dir_is_same(prev, d->dir))
			return log_errno(-EINVAL,
			                 "--prev-images-dir %s: that checkpoint is in the directory of this dump "
			                 "(-D), or made on top of one there: each needs a directory of its own",
			                 d->opts->prev_images_dir);
		err = image_dir_prev(prev, &prev);
	}
	return err == -ENOENT ? 0 : err;
}

static int open_prev(struct dump *d, struct track_state *s)
{
	const char *path = d->opts->prev_images_dir;
	InventoryEntry *inventory;
	int err;

	if (*path == '/')
		log_warn("--prev-images-dir %s: with a path relative to -D the chain could be moved", path);
	if (d->opts->page_server || d->opts->lazy_pages)
		image_dir_sent_elsewhere(d->dir);
	err = image_dir_open_prev(d->dir, path, &s->prev);
	err = err ?: check_not_own(d, s->prev);
	err = err ?: image_read_one(s->prev, IMG_INVENTORY, 0, d->arena, &inventory);
	if (err)
		return log_errno(err, "--prev-images-dir %s: no whole checkpoint is there", path);
	err = pages_before_read(d, s->prev, &s->before);
	if (err)
		return err;
	s->prev_run_id = inventory->dump_criu_run_id;
	d->inventory->prev_run_id = inventory->dump_criu_run_id;
	return image_dir_link_prev(d->dir, path);
}

/* Looks at all processes of the machine. */
static int find_trackers(struct dump *d, struct track_state *s)
{
	s->looked = true;
	return tracker_find_all(d->arena, &s->found, &s->n_found);
}

static int track_before_freeze(struct dump *d)
{
	struct track_state *s = dump_state(d, &track_subsys);
	int err = 0;

	s->sock = -1;
	s->begun = true;
	if (d->opts->prev_images_dir)
		err = open_prev(d, s);
	if (!err && d->opts->track_mem && !dump_kills_tree(d)) {
		s->sock = tracker_start();
		err = s->sock < 0 ? s->sock : 0;
	}
	return err || !track_is_in_chain(d) ? err : find_trackers(d, s);
}

/* ---- what was written to ---- */

struct scan {
	struct dump *d;
	const struct task *task;
	int pagemap, uffd; /* uffd: what the tracker had; negative: it could not be taken */
	struct ranges clean, ours;
};

/*
 * Private memory that no file is behind, and no more.
 *
 * Of shared memory another page table may have what was written. Of a private mapping of a file, and of hugetlb memory
 * (which shows a file too), a page that is dropped (MADV_DONTNEED, truncation) leaves its mark behind, and the page
 * that takes its place, with the file's bytes or with zeros, has that mark from the start (linux/mm/memory.c,
 * set_pte_range(); linux/mm/hugetlb.c, hugetlb_no_page()): nothing tells it from the old one. What the kernel calls
 * anonymous leaves nothing when it is dropped (zap_install_uffd_wp_if_needed()).
 */
bool track_is_able(const struct proc_map *m)
{
	return !m->shared && !m->ino && strncmp(m->name, "[v", 2) != 0; /* vsyscall has no page table */
}

/*
 * Not so where the program has a userfaultfd of its own that notes writes, from a moment of its own on. If nothing was
 * taken from the tracker that cannot be told here: what VmFlags show as watched when the tracker has ended is the
 * program's, and is stored in full for that (vma.watched).
 */
static bool is_criu_watching(struct scan *sc, const struct proc_map *m)
{
	if (sc->uffd < 0)
		return true;
	if (track_register(sc->uffd, m))
		return false;
	ranges_push(sc->d->arena, &sc->ours, m->start, m->end);
	return true;
}

/*
 * Pages that are there and have the mark of not being written to. A mapping that is new, or was moved, or that a fork
 * has made, has no marks: EPERM. A page in swap, or that only a mark says to be there, is taken for written to.
 */
static int scan_map(struct scan *sc, const struct proc_map *m)
{
	struct page_region regions[REGIONS];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_CHECK_WPASYNC,
		.start = m->start,
		.end = m->end,
		.vec = (uintptr_t)regions,
		.vec_len = REGIONS,
		.category_inverted = PAGE_IS_WRITTEN,
		.category_mask = PAGE_IS_WRITTEN | PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT,
	};

	while (arg.start < m->end) {
		int n = ioctl(sc->pagemap, PAGEMAP_SCAN, &arg);

		if (n < 0)
			return errno == EPERM || errno == ENOTTY ? 0 : -errno;
		if (arg.start == m->start && !is_criu_watching(sc, m))
			return 0;
		for (int i = 0; i < n; i++)
			ranges_push(sc->d->arena, &sc->clean, regions[i].start, regions[i].end);
		if (arg.walk_end <= arg.start)
			return -EBADMSG;
		arg.start = arg.walk_end;
	}
	return 0;
}

static int scan_task(struct scan *sc)
{
	_cleanup_close_ int proc = proc_open(sc->task->pid);
	struct proc_map *maps = NULL;
	size_t n = 0;
	int err = proc < 0 ? proc : proc_read_maps(proc, "maps", sc->d->arena, &maps, &n);

	if (err)
		return err;
	sc->pagemap = openat(proc, "pagemap", O_RDONLY | O_CLOEXEC);
	if (sc->pagemap < 0)
		return -errno;
	for (size_t i = 0; !err && i < n; i++)
		if (track_is_able(&maps[i]))
			err = scan_map(sc, &maps[i]);
	close(sc->pagemap);
	return err;
}

/* What cannot be read is taken for written to. kept: the tracker's userfaultfd; negative: it ends with the tracker. */
static int read_task(struct dump *d, struct track_state *s, const struct task *t, int kept)
{
	struct scan sc = { .d = d, .task = t, .uffd = kept };
	struct track_task *one = track_task(s, d->arena, t);
	struct ranges stored = { 0 };
	int err = scan_task(&sc);

	one->uffd = kept;
	if (err || !sc.ours.n) /* where nothing is watched any more it was that of the former program */
		cleanup_close(&one->uffd);
	else if (kept >= 0)
		one->ours = sc.ours;
	if (err) {
		log_warn("%s: which of its pages were written to cannot be read (%s): all are stored", task_name(t),
		         strerror(-err));
		return 0;
	}
	if (one->uffd >= 0)
		log_debug("%s: the marks of the dump before stay", task_name(t));
	err = pages_before_of(d, s->before, t, &stored);
	if (!err)
		one->unwritten = ranges_common(d->arena, &sc.clean, &stored);
	return err;
}

/* The task of the tree that a tracker has an entry for. */
static const struct task *task_of(struct dump *d, const struct tracked *tracked)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if (t->pid == tracked->pid && t->state != TASK_DEAD && t->dump && t->dump->stat &&
		    t->dump->stat->start_time == tracked->start_time)
			return t;
	}
	return NULL;
}

/* Reads what a tracker has kept of the tree, if it is this chain's, and ends it if it has anything of the tree. */
static int use_tracker(struct dump *d, struct track_state *s, struct tracker *tr)
{
	bool is_chains = s->prev_run_id && !strcmp(tr->run_id, s->prev_run_id), of_tree = false;
	int err = 0;

	for (size_t i = 0; !err && i < tr->n_tasks; i++) {
		const struct task *t = task_of(d, &tr->tasks[i]);

		of_tree |= t != NULL;
		if (t && is_chains)
			err = read_task(d, s, t, tracker_take_uffd(tr, &tr->tasks[i]));
	}
	if (err || !of_tree)
		return err;
	s->is_tracked |= is_chains;
	if (!is_chains)
		log_info("what was noted for another dump (" TRACKER_NAME ", pid %d) is given up", tr->pid);
	return tracker_end(tr);
}

/* A page server may have lost some of it; all of these is sent then. */
static int ask_server(struct dump *d, struct track_state *s)
{
	size_t n = 0, lost = 0, count = HASH_COUNT(s->tasks);
	const struct task **tasks = arena_array(d->arena, const struct task *, count + 1);
	bool *has = arena_array(d->arena, bool, count + 1);
	int err;

	for (const struct track_task *one = s->tasks; one; one = one->hh.next)
		if (one->unwritten.n)
			tasks[n++] = one->task;
	err = n ? pages_before_ask(d, tasks, n, has) : 0;
	for (size_t i = 0; !err && i < n; i++) {
		if (has[i])
			continue;
		track_task(s, NULL, tasks[i])->unwritten = (struct ranges) { 0 };
		lost++;
	}
	if (lost)
		log_warn("the memory of %zu tasks is sent in full: the page server has none of them in the checkpoint "
		         "before, or not as it was",
		         lost);
	return err;
}

static int track_frozen(struct dump *d)
{
	struct track_state *s = dump_state(d, &track_subsys);
	int err = 0;

	if (!pages_before_are_there(d))
		s->before = NULL;
	for (size_t i = 0; !err && i < s->n_found; i++)
		err = use_tracker(d, s, &s->found[i]);
	if (!err && s->prev && !s->is_tracked)
		log_warn("memory is stored in full: writes since the dump in %s were not noted (it was made without "
		         "--track-mem, another dump came after it, or its " TRACKER_NAME " has ended)",
		         d->opts->prev_images_dir);
	return err ?: d->opts->page_server ? ask_server(d, s) : 0;
}

/* ---- what others see ---- */

/* Most dumps belong to no chain, and meet no tracker: they look for one when memory is watched that it may watch. */
int track_give_up(struct dump *d, const struct task *t)
{
	struct track_state *s = dump_state(d, &track_subsys);
	bool watched = false;
	int err;

	for (size_t i = 0; i < t->dump->maps.n && !watched; i++)
		watched = t->dump->maps.v[i].flags & VMF_uw;
	if (s->looked || !watched)
		return 0;
	err = find_trackers(d, s);
	for (size_t i = 0; !err && i < s->n_found; i++)
		err = use_tracker(d, s, &s->found[i]);
	return err ?: s->n_found > 0;
}

bool track_is_ours(const struct track_task *one, size_t *at, const struct proc_map *m)
{
	while (*at < one->ours.n && one->ours.r[*at].end <= m->start)
		++*at;
	return *at < one->ours.n && one->ours.r[*at].start <= m->start;
}

/* That of a task which has the memory of t: at the dump before another one may have been the first that has. */
static const struct track_task *find_sharing(struct dump *d, struct track_state *s, const struct task *t)
{
	const struct track_task *one = track_task(s, NULL, t);

	if (!one)
		for (one = s->tasks; one && tree_first_vm(&d->tree, one->task) != t; one = one->hh.next)
			;
	return one;
}

void track_hide(struct dump *d, struct task *t)
{
	const struct track_task *one = find_sharing(d, dump_state(d, &track_subsys), t);
	size_t at = 0;

	for (size_t i = 0; one && i < t->dump->maps.n; i++) {
		struct proc_map *m = &t->dump->maps.v[i];

		m->for_criu = track_is_ours(one, &at, m);
		if (m->for_criu)
			m->flags &= ~VMF_uw;
	}
}

static void track_end(struct dump *d)
{
	struct track_state *s = dump_state(d, &track_subsys);

	if (!s->begun)
		return;
	tracker_forget(s->found, s->n_found);
	for (struct track_task *one = s->tasks; one; one = one->hh.next)
		cleanup_close(&one->uffd);
	cleanup_close(&s->sock);
	image_dir_close(s->prev);
}

const struct subsys track_subsys = {
	.name = "tracking of memory",
	.state = { .dump = sizeof(struct track_state) },
	.before_freeze = track_before_freeze,
	.frozen = track_frozen,
	.inside = track_inside,
	.pre_inside = track_inside,
	.pre_committed = track_committed,
	.after_commit = track_committed,
	.end = track_end,
};
