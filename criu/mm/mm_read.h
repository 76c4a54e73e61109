/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what a restore knows of memory once the images have been read and checked. */
#ifndef CRIU_MM_MM_READ_H
#define CRIU_MM_MM_READ_H

#include "tree/restore.h"
#include "lib/arena_hash.h"
#include "pages/pages.h"
#include "mm.pb-c.h"
#include "format.h"

enum segment_kind {
	SEG_MAP,  /* to be mapped */
	SEG_KEEP, /* there already, from the parent */
	SEG_VDSO, /* the kernel's: neither mapped nor sealed by us */
};

/* A part of a mapping, or all of it. */
struct segment {
	raddr_t start, end;
	const VmaEntry *vma;
	enum segment_kind kind;
	bool anon; /* an old vdso, restored as memory of the task */
	bool fill; /* has pages to be written */
	int prot;  /* what it has now; -1: unknown */
};

/* Of the first task with a memory: task->restore->mm. */
struct task_mm {
	struct pagemap *pages;
	struct segment *segs; /* ascending */
	size_t n_segs;
	raddr_t vdso_start; /* the block of vdso and vvar in the image; 0: none */
	uint64_t vdso_size;
	raddr_t vdso_code; /* the [vdso] of that block */
	uint64_t vdso_code_size;
	uint8_t *old_vdso; /* its bytes, as far as they are stored */
	bool vdso_foreign; /* another kernel's: mm/vdso.h */
	bool vdso_kept;    /* a copy has it from its parent already */
	raddr_t new_vdso;  /* where the kernel's own was put in another place; 0: it was not */
	uint64_t new_vdso_size;
};

/* Of the whole restore. */
struct mm_restore {
	struct shmem *shmem;         /* mm/shmem_restore.h, by id */
	struct vdso_block *own_vdso; /* mm/vdso.h */
	bool knows_cow;              /* some pagemap of the tree has the field */
	bool no_map_files;           /* EPERM: shared memory is made of memfds */
};

struct mm_restore *mm_of(const struct restore *r);

/* The memory of a task that shares it with an earlier one is that one's; NULL before mm_check() and for a zombie. */
struct task_mm *task_mm(const struct restore *r, const struct task *t);

/* Whether a mapping is one of the kernel's: vdso, vvar, vsyscall. */
static inline bool vma_is_kernels(const VmaEntry *v)
{
	return v->status & (VMA_VDSO | VMA_VVAR | VMA_VSYSCALL);
}

/* Whether pages of its own stand in the task's pagemap. */
static inline bool vma_is_private(const VmaEntry *v)
{
	return v->status & (VMA_FILE_PRIVATE | VMA_ANON_PRIVATE);
}

/* Advice of madvise(2) that an image says the mapping has. */
static inline bool vma_advice(const VmaEntry *v, unsigned advice)
{
	return v->has_madv && v->madv >> advice & 1;
}

#endif
