/* SPDX-License-Identifier: GPL-2.0-only */
/* Which mappings a task loses, and how the others are made: kind by kind where mmap() is not enough. */
#include "mm/vma_map.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/send_fds.h"
#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "files/foreign_restore.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "mm/vma_file.h"
#include "mm/vma_hole.h"
#include "mm/vma_join.h"

#define GROUP_MAX 200 /* descriptors that are in the task at a time */

/* ---- what is unmapped ---- */

static void unmap_range(struct batch *b, raddr_t from, raddr_t to)
{
	if (to > from)
		batch_call(b, SYS_munmap, from, to - from);
}

static bool keeps_segment(const struct task_mm *m, const struct segment *s)
{
	return s->kind == SEG_KEEP || (s->kind == SEG_VDSO && m->vdso_kept);
}

int vma_unmap_rest(struct restore *r, struct task *t, const struct task_mm *m, struct range keep)
{
	struct batch *b = agent_batch(t->restore->agent, "unmapping all that is not kept");
	struct ranges kept = { 0 };
	struct range vdso = { m->new_vdso, m->new_vdso + m->new_vdso_size };
	raddr_t at = 0;

	arena_push(r->arena, &kept.r, &kept.n, keep);
	if (m->vdso_kept && m->new_vdso)
		arena_push(r->arena, &kept.r, &kept.n, vdso);
	for (size_t i = 0; i < m->n_segs; i++) {
		struct range range = { m->segs[i].start, m->segs[i].end };

		if (keeps_segment(m, &m->segs[i]))
			arena_push(r->arena, &kept.r, &kept.n, range);
	}
	qsort(kept.r, kept.n, sizeof(*kept.r), range_by_start);
	for (size_t i = 0; i < kept.n; i++) {
		unmap_range(b, at, kept.r[i].start);
		at = MAX(at, kept.r[i].end);
	}
	unmap_range(b, at, arch_task_size(t->compat));
	return batch_run(b);
}

/* ---- what is made ---- */

/* A descriptor on its way into the task, and the mappings that need it: those of one kind, object and access. */
struct passed {
	const struct vma_kind *row;
	uint64_t shmid;
	bool writes;
	bool own; /* ours to close */
};

/* What is passed at once. */
struct group {
	struct passed file[GROUP_MAX];
	int fds[GROUP_MAX], numbers[GROUP_MAX];
	size_t n;
	size_t last; /* found last: neighbours often are of one file */
};

static bool wants_file(const struct segment *s)
{
	return s->kind == SEG_MAP && s->row->open;
}

static bool is_passed_as(const struct passed *p, const struct segment *s)
{
	return p->row == s->row && p->shmid == s->vma->shmid && p->writes == vma_file_writes(s->vma);
}

static ssize_t find_passed(struct group *g, const struct segment *s)
{
	if (g->last < g->n && is_passed_as(&g->file[g->last], s))
		return (ssize_t)g->last;
	for (size_t i = 0; i < g->n; i++) {
		if (is_passed_as(&g->file[i], s)) {
			g->last = i;
			return (ssize_t)i;
		}
	}
	return -ENOENT;
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

		if (!wants_file(s) || find_passed(g, s) >= 0)
			continue;
		if (g->n == GROUP_MAX)
			break;
		*p = (struct passed) { .row = s->row, .shmid = s->vma->shmid, .writes = vma_file_writes(s->vma) };
		g->fds[g->n] = s->row->open(r, s->vma, &p->own);
		if (g->fds[g->n] < 0)
			err = log_errno(g->fds[g->n], "%s: mapping %" PRIx64 "-%" PRIx64 ": opening its %s",
			                task_name(t), s->start, s->end, s->row->name);
		else
			g->n++;
	}
	if (!err && g->n)
		err = foreign_restore_send(r, t, g->fds, g->n, g->numbers);
	close_own(g);
	return err;
}

/* And those that are joined with it. */
static void map_segment(struct batch *b, struct segment *s, int number)
{
	const VmaEntry *v = s->vma;
	const struct segment *last = s + s->joins;
	uint32_t flags = v->flags & (MAP_TYPE | MAP_GROWSDOWN | MAP_NORESERVE);
	uint64_t off = v->pgoff + (s->start - v->start);

	if ((flags & MAP_TYPE) == MAP_SHARED_VALIDATE)
		flags = (flags & ~(uint32_t)MAP_TYPE) | MAP_SHARED;
	if (number < 0) {
		flags |= MAP_ANONYMOUS | hugetlb_map_flags(v);
		off = 0;
	}
	s->prot = s->is_joined ? VMA_JOIN_PROT : (int)v->prot | (segment_starts_writable(s) ? PROT_WRITE : 0);
	batch_call(b, SYS_mmap, s->start, last->end - s->start, (uint64_t)s->prot, (uint64_t)flags | MAP_FIXED,
	           (uint64_t)(int64_t)number, off);
	for (; s < last; s++)
		s[1].prot = s->prot;
}

static int map_group(struct batch *b, struct task_mm *m, struct segment *s, const struct segment *end, struct group *g)
{
	int err = 0;

	for (; !err && s < end; s += 1 + s->joins) {
		if (s->kind != SEG_MAP)
			continue;
		if (s->row->map)
			err = s->row->map(b, m, s);
		else
			map_segment(b, s, wants_file(s) ? g->numbers[find_passed(g, s)] : -1);
	}
	for (size_t i = 0; i < g->n; i++)
		batch_call(b, SYS_close, (uint64_t)g->numbers[i]);
	return err;
}

int vma_map_all(struct restore *r, struct task *t, struct task_mm *m)
{
	struct group *g = arena_new_of(r->arena, struct group);
	int err = 0;

	vma_join_choose(m);
	for (size_t from = 0, to = 0; !err && to < m->n_segs; from = to) {
		struct batch *b;

		err = pass_group(r, t, m, &to, g);
		if (err)
			return err;
		b = agent_batch(t->restore->agent, "its mappings");
		err = map_group(b, m, &m->segs[from], &m->segs[to], g) ?: batch_run(b);
	}
	for (size_t i = 0; !err && i < t->mm->n_vmas; i++) {
		const struct vma_kind *kind = vma_kind_of(t->mm->vmas[i]);

		if (kind->mapped)
			kind->mapped(r, t->mm->vmas[i]);
	}
	return err;
}

/* A fault below the stack, in a call that writes there, lets it grow as it did. */
int vma_grow_stacks(struct task *t, struct task_mm *m)
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
