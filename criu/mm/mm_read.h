/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: what a restore knows of memory once the images have been read and checked. */
#ifndef CRIU_MM_MM_READ_H
#define CRIU_MM_MM_READ_H

#include "tree/restore.h"
#include "lib/arena_hash.h"
#include "mm.pb-c.h"
#include "format.h"

/* Pages that follow one another, in memory and in the pages file. */
struct page_run {
	raddr_t at;   /* in an object: the offset */
	uint64_t n;   /* pages */
	uint64_t off; /* bytes in the pages file */
	bool thp, cow;
	bool compare; /* filling: what is there may be equal already, and is left alone then */
};

/* A pagemap image and its pages file. */
struct pages {
	uint32_t id;
	struct page_run *runs; /* ascending */
	size_t n_runs;
	uint64_t n_pages;
	bool knows_cow; /* an entry has the field */
};

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
	struct pages *pages;
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

/*
 * Reads a pagemap image and looks at the size of its pages file. type: IMG_PAGEMAP or IMG_SHMEM_PAGEMAP. limit: the
 * end of what addresses (offsets) may be. Entries are ascending, do not overlap, and have their pages in the file; what
 * a parent checkpoint would have is refused. -ENOENT is not logged. The rest is, with the image's name.
 */
int pages_read(struct restore *r, enum image_type type, uint64_t id, uint64_t limit, struct pages **pagesp);

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
