/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of a task at restore: room for the agent, what goes, what is made, and what is filled. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/send_fds.h"
#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "files/files.h"
#include "lib/log.h"
#include "mm/page_plan.h"
#include "mm/thp.h"
#include "mm/mm.h"
#include "mm/shmem_restore.h"
#include "mm/vdso.h"

#define LOWEST    (64UL << 10) /* vm.mmap_min_addr, as it is set nearly everywhere */

#define GROUP_MAX 200 /* descriptors that are in the task at a time */

/* ---- holes ---- */

struct ranges {
	struct range *r;
	size_t n;
};

static void add_vmas(struct arena *a, const struct task *t, struct ranges *taken)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++) {
		struct range range = { t->mm->vmas[i]->start, t->mm->vmas[i]->end };

		arena_push(a, &taken->r, &taken->n, range);
	}
}

/* Whether a child's address space may come from its parent's by forking (restore/plan.c has the last word). */
static bool may_be_copy(const struct restore *r, const struct task *t, const struct task *child)
{
	if (!child->mm || !t->ids || !child->ids)
		return false;
	return child->ids->vm_id == t->ids->vm_id || child->ids->files_id == t->ids->files_id ||
	       child->ids->fs_id == t->ids->fs_id || mm_inherits(r, child);
}

static void add_family(const struct restore *r, const struct task *t, struct ranges *taken)
{
	if (tree_first_vm(&r->tree, t) == t || !taken->n)
		add_vmas(r->arena, t, taken);
	for (size_t i = 0; i < t->n_children; i++)
		if (may_be_copy(r, t, t->children[i]))
			add_family(r, t->children[i], taken);
}

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* One page stays free on either side, so that nothing grows together. */
static raddr_t find_hole(struct ranges *taken, uint64_t size)
{
	raddr_t at = LOWEST;

	qsort(taken->r, taken->n, sizeof(*taken->r), by_start);
	for (size_t i = 0; i < taken->n; i++) {
		const struct range *r = &taken->r[i];

		if (r->start >= at && r->start - at >= size + PAGE_SIZE)
			return at;
		at = MAX(at, r->end + PAGE_SIZE);
	}
	return at < arch_task_size() && arch_task_size() - at > size ? at : 0;
}

raddr_t mm_find_hole(const struct restore *r, const struct task *t, uint64_t size)
{
	struct ranges taken = { 0 };

	add_family(r, t, &taken);
	return find_hole(&taken, size);
}

/* A hole for the vdso, which children may inherit, beside what is kept for the agents. */
static raddr_t vdso_hole(const struct restore *r, const struct task *t, struct range keep, uint64_t size)
{
	struct ranges taken = { 0 };

	add_family(r, t, &taken);
	arena_push(r->arena, &taken.r, &taken.n, keep);
	return find_hole(&taken, size);
}

/* ---- what goes ---- */

static void unmap(struct batch *b, raddr_t from, raddr_t to)
{
	if (to > from)
		batch_call(b, SYS_munmap, from, to - from);
}

static bool is_kept(const struct task_mm *m, const struct segment *s)
{
	return s->kind == SEG_KEEP || (s->kind == SEG_VDSO && m->vdso_kept);
}

static int unmap_rest(struct restore *r, struct task *t, const struct task_mm *m, struct range keep)
{
	struct batch *b = agent_batch(t->restore->agent, "unmapping what it does not have");
	struct ranges kept = { 0 };
	struct range vdso = { m->new_vdso, m->new_vdso + m->new_vdso_size };
	raddr_t at = 0;

	arena_push(r->arena, &kept.r, &kept.n, keep);
	if (m->vdso_kept && m->new_vdso)
		arena_push(r->arena, &kept.r, &kept.n, vdso);
	for (size_t i = 0; i < m->n_segs; i++) {
		struct range range = { m->segs[i].start, m->segs[i].end };

		if (is_kept(m, &m->segs[i]))
			arena_push(r->arena, &kept.r, &kept.n, range);
	}
	qsort(kept.r, kept.n, sizeof(*kept.r), by_start);
	for (size_t i = 0; i < kept.n; i++) {
		unmap(b, at, kept.r[i].start);
		at = MAX(at, kept.r[i].end);
	}
	unmap(b, at, arch_task_size());
	return batch_run(b);
}

/* ---- what is made ---- */

/* A descriptor on its way into the task, for the mappings of a group. */
struct passed {
	uint64_t key;
	bool own; /* ours to close */
};

struct group {
	struct passed file[GROUP_MAX];
	int fds[GROUP_MAX], numbers[GROUP_MAX];
	size_t n;
	size_t last; /* found last: neighbours often are of one file */
};

static bool wants_file(const struct segment *s)
{
	return s->kind == SEG_MAP && !s->anon && !(s->vma->status & VMA_ANON_PRIVATE);
}

static bool wants_write(const VmaEntry *v)
{
	return v->status & VMA_FILE_SHARED && v->has_fdflags && (v->fdflags & O_ACCMODE) == O_RDWR;
}

static uint64_t file_key(const VmaEntry *v)
{
	return v->shmid | (uint64_t) !!(v->status & VMA_ANON_SHARED) << 32 | (uint64_t)wants_write(v) << 33;
}

static ssize_t find_passed(struct group *g, uint64_t key)
{
	if (g->last < g->n && g->file[g->last].key == key)
		return (ssize_t)g->last;
	for (size_t i = 0; i < g->n; i++) {
		if (g->file[i].key == key) {
			g->last = i;
			return (ssize_t)i;
		}
	}
	return -ENOENT;
}

/* A file that was first met as an executable is open for reading only: a shared mapping may need more. */
static int open_again(int fd)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	return again < 0 ? log_errno(-errno, "opening %s for writing, to map it", path) : again;
}

static int open_for(struct restore *r, const VmaEntry *v, bool *own)
{
	int fd;

	*own = v->status & VMA_ANON_SHARED;
	if (*own)
		return shmem_open(r, v);
	fd = files_open(r, (uint32_t)v->shmid);
	if (fd < 0 || !wants_write(v) || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
		return fd;
	*own = true;
	return open_again(fd);
}

static void close_own(struct group *g)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->file[i].own)
			close(g->fds[i]);
}

/* Opens and passes what the segments from *at on need, as many as make a group; *at goes behind the last of them. */
static int pass_group(struct restore *r, struct task *t, const struct task_mm *m, size_t *at, struct group *g)
{
	int err = 0;

	g->n = 0;
	for (; !err && *at < m->n_segs; (*at)++) {
		const struct segment *s = &m->segs[*at];
		struct passed *p = &g->file[g->n];

		if (!wants_file(s) || find_passed(g, file_key(s->vma)) >= 0)
			continue;
		if (g->n == GROUP_MAX)
			break;
		p->key = file_key(s->vma);
		g->fds[g->n] = open_for(r, s->vma, &p->own);
		if (g->fds[g->n] < 0)
			err = log_errno(g->fds[g->n], "%s: its mapping %" PRIx64 "-%" PRIx64, task_name(t), s->start,
			                s->end);
		else
			g->n++;
	}
	if (!err && g->n)
		err = agent_send_fds(t, g->fds, g->n, g->numbers);
	close_own(g);
	return err;
}

/*
 * It needs to be writable for a while: pages go there, or the task could write to it once, which the kernel remembers
 * (VM_ACCOUNT) and takes into account when mappings are joined.
 */
static bool starts_writable(const struct segment *s)
{
	return s->fill || s->anon || (s->vma->accounted && vma_is_private(s->vma));
}

static void map_segment(struct batch *b, struct segment *s, int number)
{
	const VmaEntry *v = s->vma;
	uint32_t flags = v->flags & (MAP_TYPE | MAP_GROWSDOWN | MAP_NORESERVE);
	uint64_t off = v->pgoff + (s->start - v->start);

	if (s->anon)
		flags = MAP_PRIVATE;
	if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		flags = (flags & ~(uint32_t)MAP_TYPE) | MAP_SHARED;
	if (number < 0) {
		flags |= MAP_ANONYMOUS;
		off = 0;
	}
	s->prot = (int)v->prot | (starts_writable(s) ? PROT_WRITE : 0);
	batch_call(b, SYS_mmap, s->start, s->end - s->start, (uint64_t)s->prot, (uint64_t)flags | MAP_FIXED,
	           (uint64_t)(int64_t)number, off);
}

static int map_all(struct restore *r, struct task *t, struct task_mm *m)
{
	struct group *g = arena_new_of(r->arena, struct group);
	int err = 0;

	for (size_t from = 0, to = 0; !err && to < m->n_segs; from = to) {
		struct batch *b;

		err = pass_group(r, t, m, &to, g);
		if (err)
			return err;
		b = agent_batch(t->restore->agent, "its mappings");
		for (size_t i = from; i < to; i++) {
			struct segment *s = &m->segs[i];

			if (s->kind != SEG_MAP)
				continue;
			map_segment(b, s, wants_file(s) ? g->numbers[find_passed(g, file_key(s->vma))] : -1);
		}
		for (size_t i = 0; i < g->n; i++)
			batch_call(b, SYS_close, (uint64_t)g->numbers[i]);
		err = batch_run(b);
	}
	for (size_t i = 0; !err && i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & VMA_ANON_SHARED)
			shmem_release(r, t->mm->vmas[i]);
	return err;
}

/*
 * The stack of a copy may have grown since the fork. A mapping put below it would not join the part that was inherited,
 * and /proc/PID/maps would name that one alone: so let it grow as it did, by a fault in a call that writes there. Where
 * that fails, it is mapped.
 */
static int grow_stacks(struct task *t, struct task_mm *m)
{
	for (size_t i = 0; i + 1 < m->n_segs; i++) {
		struct segment *s = &m->segs[i];
		struct batch *b;
		int op, err;

		if (!(s->vma->flags & MAP_GROWSDOWN) || s->kind != SEG_MAP || s[1].kind != SEG_KEEP ||
		    s[1].vma != s->vma)
			continue;
		b = agent_batch(t->restore->agent, "growing its stack");
		op = batch_ask(b, SYS_clock_getres, CLOCK_MONOTONIC, s->start);
		batch_ask(b, SYS_madvise, s->start, PAGE_SIZE, MADV_DONTNEED);
		err = batch_run(b);
		if (err)
			return err;
		if (!batch_ret(b, op))
			s->kind = SEG_KEEP;
	}
	return 0;
}

/* ---- what is filled ---- */

/* Of a copy: pages that it does not have, and what it has to be able to write. */
static int make_ready(struct task *t, struct task_mm *m, const struct page_plan *plan)
{
	struct batch *b = agent_batch(t->restore->agent, "what it has in common with its parent");

	for (size_t i = 0; i < plan->n_drops; i++)
		batch_call(b, SYS_madvise, plan->drops[i].start, plan->drops[i].end - plan->drops[i].start,
		           MADV_DONTNEED);
	for (size_t i = 0; i < m->n_segs; i++) {
		struct segment *s = &m->segs[i];

		if (s->kind != SEG_KEEP || s->anon || !starts_writable(s))
			continue;
		s->prot = (int)s->vma->prot | PROT_READ | PROT_WRITE;
		batch_call(b, SYS_mprotect, s->start, s->end - s->start, (uint64_t)s->prot);
	}
	return batch_run(b);
}

/* It counts as committed only as long as it may have pages of its own (anon_vma): let it have one for a moment. */
static int keep_accounted(struct task *t, const struct task_mm *m)
{
	struct batch *b = agent_batch(t->restore->agent, "what counts as committed");

	for (size_t i = 0; i < m->n_segs; i++) {
		const struct segment *s = &m->segs[i];

		if (s->kind != SEG_MAP || s->fill || s->anon || !starts_writable(s))
			continue;
		batch_ask(b, SYS_madvise, s->start, PAGE_SIZE, MADV_POPULATE_WRITE);
		batch_ask(b, SYS_madvise, s->start, PAGE_SIZE, MADV_DONTNEED);
	}
	return batch_run(b);
}

static int fill_pages_of(struct restore *r, struct task *t, const struct task_mm *m, const struct page_plan *plan)
{
	struct huge_plan huge = { 0 };
	int err;

	huge_choose(r->arena, m, plan, &huge);
	err = huge_make(t, &huge);
	if (err)
		return err;
	r->stats->pages_skipped_cow += plan->shared;
	return pages_fill_task(r, m->pages, t->pid, plan->runs, plan->n_runs);
}

static uint32_t locked(const VmaEntry *v)
{
	if (v->has_locked)
		return v->locked;
	return v->flags & MAP_LOCKED ? VMA_LOCKED_ALL : 0;
}

/*
 * Before children are forked: fork drops the lock, and to lock memory that is shared with a child would copy it. What
 * nobody may read cannot be made present, but is locked all the same.
 */
static int lock_mappings(struct task *t)
{
	struct batch *b = agent_batch(t->restore->agent, "locking its mappings (mlock)");

	for (size_t i = 0; i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (vma_is_kernels(v) || !locked(v))
			continue;
		batch_add(b, SYS_mlock2, v->prot ? AGENT_OP_STOP : 0,
		          (const uint64_t[6]) { v->start, v->end - v->start,
		                                locked(v) == VMA_LOCKED_ON_FAULT ? MLOCK_ONFAULT : 0 });
	}
	return batch_run(b);
}

int mm_restore_map(struct restore *r, struct task *t, raddr_t keep, uint64_t keep_size)
{
	struct range kept = { keep, keep + keep_size };
	struct page_plan plan = { 0 };
	struct task_mm *m = t->restore->mm;
	uint64_t room = vdso_hole_size(r, m);
	raddr_t hole = 0;
	int err;

	if (t->restore->copied)
		plan_copy(r->arena, t, m, t->parent, task_mm(r, t->parent), mm_of(r)->knows_cow, &plan);
	else
		plan_fresh(r->arena, t, m, &plan);
	if (room && !m->vdso_kept) {
		hole = vdso_hole(r, t, kept, room);
		if (!hole)
			return log_errno(-ENOMEM, "%s: no room for a vdso", task_name(t));
	}
	err = unmap_rest(r, t, m, kept);
	if (!err && !m->vdso_kept)
		err = vdso_map(r, t, m, hole);
	if (!err && t->restore->copied)
		err = grow_stacks(t, m);
	if (!err)
		err = map_all(r, t, m);
	if (!err && t->restore->copied)
		err = make_ready(t, m, &plan);
	if (!err)
		err = keep_accounted(t, m);
	if (!err && m->vdso_foreign && !m->vdso_kept)
		err = vdso_fill(r, t, m);
	if (!err)
		err = fill_pages_of(r, t, m, &plan);
	return err ?: lock_mappings(t);
}
