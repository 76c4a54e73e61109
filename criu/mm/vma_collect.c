/* SPDX-License-Identifier: GPL-2.0-only */
/* The mappings of a task at dump: lines of smaps become vma_entry messages, of which each kind fills in its part. */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "mm/hugetlb.h"
#include "mm/mm.h"
#include "mm/track.h"
#include "mm/vma_advice.h"
#include "tree/vma_kind.h"
#include "uapi/map_flags.h"

/* "[anon:name]" and "[anon_shmem:name]": the name that PR_SET_VMA_ANON_NAME gave. */
static char *anon_name(struct arena *a, const struct proc_map *m)
{
	const char *colon = !strncmp(m->name, "[anon", 5) ? strchr(m->name, ':') : NULL;
	size_t len = colon ? strlen(colon + 1) : 0;
	char *name = len ? arena_memdup(a, colon + 1, len) : NULL;

	if (name)
		name[len - 1] = 0; /* the closing bracket */
	return name;
}

static void fill_flags(const struct proc_map *m, VmaEntry *e)
{
	e->flags = m->flags & VMF_dp ? MAP_DROPPABLE : m->shared ? MAP_SHARED : MAP_PRIVATE;
	e->flags |= (m->flags & VMF_gd ? MAP_GROWSDOWN : 0) | (m->flags & VMF_nr ? MAP_NORESERVE : 0) |
	            (m->flags & VMF_lo ? MAP_LOCKED : 0);
	if (m->flags & VMF_ht && m->page_size)
		e->flags |= MAP_HUGETLB | hugetlb_size_flag(m->page_size);
	e->has_locked = m->flags & VMF_lo;
	e->locked = m->flags & VMF_lf ? VMA_LOCKED_ON_FAULT : VMA_LOCKED_ALL;
	/* What can be written counts anyway, and shared memory does with its object. */
	e->has_accounted = m->flags & VMF_ac && !m->shared && !(m->prot & PROT_WRITE);
	e->accounted = e->has_accounted;
	e->madv = vma_advice_bits(m->flags);
	e->has_madv = e->madv != 0;
	e->has_sealed = e->sealed = m->flags & VMF_sl;
	e->has_guarded = e->guarded = m->flags & VMF_gu;
	e->has_pkey = m->pkey != 0;
	e->pkey = m->pkey;
}

static VmaEntry *new_entry(struct dump *d, const struct proc_map *m)
{
	VmaEntry *e = arena_msg(d->arena, VmaEntry, vma_entry);

	e->start = m->start;
	e->end = m->end;
	e->pgoff = m->pgoff;
	e->prot = m->prot;
	e->status = VMA_REGULAR;
	e->fd = -1;
	e->anon_name = anon_name(d->arena, m);
	fill_flags(m, e);
	return e;
}

/* Of an object on a hugetlbfs nothing tells which pages it has, only how many: SEEK_HOLE knows no holes there. */
static void check_watched(const struct task *t, const struct proc_map *m, const struct vma *v)
{
	char path[80];
	struct stat st;

	if (!v->watched || !(m->flags & VMF_ht) || v->entry->status & VMA_ANON_PRIVATE)
		return;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
	if (!stat(path, &st) && st.st_blocks * 512 >= st.st_size)
		return;
	log_refusal(-EOPNOTSUPP,
	            "%s: mapping %" PRIx64 "-%" PRIx64
	            " %s: userfaultfd watches shared huge pages, not all of which are "
	            "there: the kernel does not show which; unregister them before the dump",
	            task_name(t), m->start, m->end, m->name);
}

static int collect_vma(struct dump *d, struct task *t, const struct proc_map *m)
{
	const struct vma_kind *const *k = vma_kinds;
	struct vma_list *list = t->dump->vmas;
	struct vma v = { .entry = new_entry(d, m),
		         .anon_huge = m->anon_huge,
		         .forked = m->shared ? 0 : MIN(m->anonymous, m->shared_dirty),
		         .anonymous = m->anonymous,
		         .watched = m->flags & (VMF_um | VMF_uw | VMF_ui) };
	int err;

	while (*k && !(*k)->match(d, m))
		k++;
	if (!*k)
		return log_errno(-ENOTSUP, "%s: mapping %" PRIx64 "-%" PRIx64 " %s is of no known kind", task_name(t),
		                 m->start, m->end, m->name);
	err = (*k)->dump(d, t, m, &v);
	if (err)
		return err == VMA_LEFT_OUT ? 0 : err;
	check_watched(t, m, &v);
	arena_push(d->arena, &list->v, &list->n, v);
	arena_push(d->arena, &t->mm->vmas, &t->mm->n_vmas, v.entry);
	return 0;
}

static int read_mappings(struct dump *d, struct task *t)
{
	struct task_maps *maps = &t->dump->maps;
	int err = proc_read_maps(t->dump->proc_fd, "smaps", d->arena, &maps->v, &maps->n), again;

	again = err ? 0 : track_give_up(d, t);
	if (again < 0)
		return again;
	if (again) {
		*maps = (struct task_maps) { 0 };
		err = proc_read_maps(t->dump->proc_fd, "smaps", d->arena, &maps->v, &maps->n);
	}
	if (err)
		return log_errno(err, "%s: reading /proc/%d/smaps", task_name(t), t->pid);
	track_hide(d, t);
	return 0;
}

int mm_collect(struct dump *d, struct task *t)
{
	struct task_maps *maps = &t->dump->maps;
	int err;

	t->mm = arena_msg(d->arena, MmEntry, mm_entry);
	t->dump->vmas = arena_new_of(d->arena, struct vma_list);
	err = read_mappings(d, t);
	for (size_t i = 0; !err && i < maps->n; i++) {
		if (!maps->v[i].has_flags)
			return log_errno(-EBADMSG, "%s: /proc/%d/smaps has no VmFlags", task_name(t), t->pid);
		err = collect_vma(d, t, &maps->v[i]);
	}
	return err;
}

/* ---- pre-dump ---- */

/*
 * Which pages of a mapping are worth storing ahead: private ones, which the kinds of mappings are not asked about. What
 * the dump stores in the end they decide, and what of it was stored ahead does not matter then.
 */
static enum vma_pages private_pages(const struct proc_map *m)
{
	if (m->shared || m->flags & (VMF_io | VMF_pf | VMF_dp) || !strncmp(m->name, "[v", 2))
		return VMA_PAGES_NONE;
	return m->ino && !(m->flags & VMF_ht) ? VMA_PAGES_COPIES : VMA_PAGES_ANON;
}

int mm_collect_private(struct dump *d, struct task *t)
{
	struct task_maps *maps = &t->dump->maps;
	struct vma_list *list = t->dump->vmas = arena_new_of(d->arena, struct vma_list);
	int err = read_mappings(d, t);

	if (err)
		return err;
	t->mm = arena_msg(d->arena, MmEntry, mm_entry);
	for (size_t i = 0; i < maps->n; i++) {
		const struct proc_map *m = &maps->v[i];
		struct vma v = { .entry = new_entry(d, m),
			         .pages = private_pages(m),
			         .anon_huge = m->anon_huge,
			         .anonymous = m->anonymous,
			         .watched = m->flags & (VMF_um | VMF_uw | VMF_ui) };

		if (v.pages != VMA_PAGES_NONE)
			arena_push(d->arena, &list->v, &list->n, v);
	}
	return 0;
}
