/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mappings of rings of io_uring. They take no address (EINVAL for a hint, for MAP_FIXED and for mremap): at restore
 * every hole that is large enough is filled, but the one where the mapping has to go, and then the kernel has no
 * choice.
 */
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "arch/arch_vdso.h"
#include "arch_page.h"
#include "fd/uring.h"
#include "format.h"
#include "lib/log.h"
#include "proc/proc.h"

#define LOWEST (64UL << 10) /* vm.mmap_min_addr, as it is set nearly everywhere */

extern const struct vma_kind uring_vma_kind;

/* ---- dump ---- */

struct uring_vma_state {
	struct uring_mapping *mappings;
};

const struct uring_mapping *uring_mappings(struct dump *d)
{
	const struct uring_vma_state *s = dump_state(d, &uring_vma_kind);

	return s->mappings;
}

static bool uring_vma_match(struct dump *d, const struct proc_map *m)
{
	return !m->major && !strcmp(m->name, URING_LINK);
}

static int uring_vma_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	struct uring_vma_state *s = dump_state(d, &uring_vma_kind);
	struct uring_mapping *u = arena_new_of(d->arena, struct uring_mapping);

	*u = (struct uring_mapping) { .task = t, .start = m->start, .end = m->end, .ino = m->ino, .next = s->mappings };
	s->mappings = u;
	v->entry->status |= VMA_URING;
	v->entry->shmid = m->ino;
	return 0;
}

/* ---- restore ---- */

static int uring_vma_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	return (v->flags & MAP_TYPE) == MAP_SHARED ? 0 : vma_damaged(t, v, "is of a ring of io_uring and not shared");
}

/* Its place, until the ring exists. */
static int uring_vma_reserve(struct batch *b, struct task_mm *m, struct segment *s)
{
	s->prot = (int)s->vma->prot;
	batch_call(b, SYS_mmap, s->start, s->end - s->start, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	           UINT64_MAX, 0);
	return 0;
}

const struct vma_kind uring_vma_kind = {
	.name = "io_uring",
	.state = { .dump = sizeof(struct uring_vma_state) },
	.status = VMA_URING,
	.match = uring_vma_match,
	.dump = uring_vma_dump,
	.check = uring_vma_check,
	.map = uring_vma_reserve,
};

struct hole {
	raddr_t start, end;
};

struct holes {
	struct hole *h;
	size_t n;
};

/* Those that have room for it, and those beside its place, which would make that larger. */
static int find_holes(struct restore *r, const struct task *t, const VmaEntry *v, struct holes *holes)
{
	_cleanup_close_ int fd = proc_open(t->pid);
	struct task_maps maps = { 0 };
	raddr_t at = LOWEST;
	int err = fd < 0 ? fd : proc_read_maps(fd, "maps", r->arena, &maps.v, &maps.n);

	for (size_t i = 0; !err && i <= maps.n; i++) {
		raddr_t end = i < maps.n ? MIN(maps.v[i].start, arch_task_size(false)) : arch_task_size(false);
		struct hole hole = { at, end };

		if (end > at && (end - at >= v->end - v->start || end == v->start || at == v->end))
			arena_push(r->arena, &holes->h, &holes->n, hole);
		if (i < maps.n)
			at = MAX(at, maps.v[i].end);
	}
	return err ? log_errno(err, "%s: reading /proc/PID/maps", task_name(t)) : 0;
}

static int map_one(struct restore *r, struct task *t, const VmaEntry *v, int fd)
{
	struct batch *b = agent_batch(t->restore->agent, "mapping a ring of io_uring");
	uint64_t size = v->end - v->start;
	struct holes holes = { 0 };
	int err = find_holes(r, t, v, &holes), op;

	if (err)
		return err;
	for (size_t i = 0; i < holes.n; i++)
		batch_call(b, SYS_mmap, holes.h[i].start, holes.h[i].end - holes.h[i].start, PROT_NONE,
		           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, UINT64_MAX, 0);
	batch_call(b, SYS_munmap, v->start, size);
	err = batch_run(b);
	if (err)
		return err;
	op = batch_call(b, SYS_mmap, 0, size, v->prot, MAP_SHARED | MAP_POPULATE, (uint64_t)fd, v->pgoff);
	err = batch_run(b);
	if (!err && (raddr_t)batch_ret(b, op) != v->start)
		err = log_errno(-EADDRNOTAVAIL, "%s: the kernel mapped a ring of io_uring at %" PRIx64 ", not %" PRIx64,
		                task_name(t), (raddr_t)batch_ret(b, op), v->start);
	if (err)
		return err;
	for (size_t i = 0; i < holes.n; i++)
		batch_call(b, SYS_munmap, holes.h[i].start, holes.h[i].end - holes.h[i].start);
	return batch_run(b);
}

bool uring_is_mapped(const struct task *t, uint64_t inode)
{
	for (size_t i = 0; t->mm && i < t->mm->n_vmas; i++)
		if (t->mm->vmas[i]->status & VMA_URING && t->mm->vmas[i]->shmid == inode)
			return true;
	return false;
}

int uring_map_all(struct restore *r, struct task *t, uint64_t inode, int fd)
{
	int err = 0;

	for (size_t i = 0; !err && t->mm && i < t->mm->n_vmas; i++) {
		const VmaEntry *v = t->mm->vmas[i];

		if (v->status & VMA_URING && v->shmid == inode)
			err = map_one(r, t, v, fd);
	}
	return err;
}
