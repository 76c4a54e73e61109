/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what a restore knows of an address space once the images have been read and checked. */
#ifndef CRIU_MM_TASK_MM_H
#define CRIU_MM_TASK_MM_H

#include "lib/ranges.h"
#include "pages/pages.h"
#include "tree/vma_kind.h"

/* Of the first task with a memory: task->restore->mm. */
struct task_mm {
	struct pagemap *pages;
	/* Those of other tasks (mm/page_once.h) or checkpoints whose pages files have some of its pages. */
	struct pagemap **lenders;
	size_t n_lenders;
	struct segment *segs; /* ascending */
	size_t n_segs;
	struct ranges guards; /* guard pages, ascending */
	bool compat;          /* of a 32-bit program */
	raddr_t vdso_start;   /* the block of vdso and vvar in the image; 0: none */
	uint64_t vdso_size;
	raddr_t vdso_code; /* the [vdso] of that block */
	uint64_t vdso_code_size;
	uint8_t *old_vdso; /* its bytes, as far as they are stored */
	bool vdso_foreign; /* another kernel's: mm/vdso.h */
	bool vdso_kept;    /* a copy has it from its parent already */
	raddr_t new_vdso;  /* where the kernel's own is, beside a foreign one; 0: nowhere else */
	uint64_t new_vdso_size;
	struct lazy_memory *lazy; /* what comes later: mm/lazy_memory.h; NULL: nothing does */
	struct aio_context *aio;  /* mm/aio.h */
	size_t n_aio;
};

/* Of the whole restore. */
struct mm_restore {
	bool knows_cow; /* some pagemap of the tree says which pages are shared with the parent process */
};

struct mm_restore *mm_restore_of(const struct restore *r);

/* The memory of a task that shares it with an earlier one is that one's; NULL before mm_check() and for a zombie. */
struct task_mm *task_mm(const struct restore *r, const struct task *t);

/* Whether a mapping that was checked is the kernel's own: vdso, vvar, vsyscall. */
static inline bool vma_is_kernels(const VmaEntry *v)
{
	return vma_kind_of(v)->kernels;
}

/* Whether it is the kernel's own, and comes from there without our doing. */
static inline bool vma_is_left_out(const VmaEntry *v)
{
	return vma_is_kernels(v) && !vma_kind_of(v)->map;
}

/* Whether the task's own pagemap has pages of it. */
static inline bool vma_is_private(const VmaEntry *v)
{
	return v->status & (VMA_FILE_PRIVATE | VMA_ANON_PRIVATE | VMA_AIORING);
}

/*
 * Whether a segment has to be writable for a while: pages go there, or the task could once write to it, which the
 * kernel remembers (VM_ACCOUNT) and takes into account when mappings are joined.
 */
static inline bool segment_starts_writable(const struct segment *s)
{
	return s->fill || s->row->kernels || (s->vma->accounted && vma_is_private(s->vma));
}

#endif
