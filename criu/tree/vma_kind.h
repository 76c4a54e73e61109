/* SPDX-License-Identifier: GPL-2.0-only */
/* The rows of mappings, one file each, both directions; not what all have (protection, advice, locks). */
#ifndef CRIU_TREE_VMA_KIND_H
#define CRIU_TREE_VMA_KIND_H

#include "proc/proc_maps.h"
#include "tree/dump.h"
#include "tree/restore.h"

struct batch;
struct task_mm; /* mm/task_mm.h */

/* ---- dump ---- */

/* Which pages of a mapping go into the task's own pages file. */
enum vma_pages {
	VMA_PAGES_NONE,   /* none: they are stored elsewhere, or the kernel makes them */
	VMA_PAGES_ANON,   /* all that exist, except pages of zeros */
	VMA_PAGES_COPIES, /* of a private file mapping: those that differ from the file's */
	VMA_PAGES_ALL,    /* every page, present or not (vdso) */
};

struct vma {
	VmaEntry *entry; /* also in t->mm->vmas */
	enum vma_pages pages;
	uint64_t anon_huge;         /* bytes in huge pages, as smaps has it */
	uint64_t forked, anonymous; /* bytes that others may have too, copy-on-write; of its own pages (smaps) */
	bool watched;               /* by userfaultfd: a page of zeros is another thing than one that is missing */
};

/* dump_task.vmas of the first task with a memory: its mappings, ascending. */
struct vma_list {
	struct vma *v;
	size_t n;
};

/* What dump() may return beside 0 and a negative errno: the mapping is not in the image (log_refusal() says why). */
#define VMA_LEFT_OUT 1

/* ---- restore ---- */

enum segment_kind {
	SEG_MAP,  /* to be mapped */
	SEG_KEEP, /* inherited from the parent */
	SEG_VDSO, /* the kernel's own: neither mapped nor sealed by us */
};

/* A part of a mapping, or all of it. */
struct segment {
	raddr_t start, end;
	const VmaEntry *vma;
	const struct vma_kind *row;
	enum segment_kind kind;
	bool fill, lazy; /* has pages to be written; most of them come later */
	int prot;        /* what it has now; -1: unknown */
	size_t joins;    /* how many after it are mapped by its call (mm/vma_join.h) */
	bool is_joined;  /* to others */
	bool forced;     /* read-only before its pages are written (mm/vma_forced.h) */
};

/* ---- rows ---- */

struct vma_kind {
	const char *name;       /* of what is mapped, in errors */
	struct row_state state; /* what it keeps during a dump, during a restore */
	/*
	 * Restore: a mapping is of the first kind, in the order of kinds.h, of which its status (enum vma_status) or
	 * its flags (MAP_*) have one of these bits.
	 */
	uint32_t status, flags;
	/*
	 * The kernel's own, as the vdso: not advised, locked, protected, or inherited by copies. Only `map` makes it;
	 * without one it is left to the kernel.
	 */
	bool kernels;

	/* Dump: whether a mapping is of this kind. The first match in the order of kinds.h wins. */
	bool (*match)(struct dump *d, const struct proc_map *m);
	/*
	 * Dump: adds to v->entry (place, protection, flags, advice and name are filled in) what the kind knows, and
	 * says which pages are stored. 0, VMA_LEFT_OUT, or a negative errno (logged).
	 */
	int (*dump)(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v);

	/*
	 * Restore, before anything is started: whether it can come back; the place is checked already. 0, or a negative
	 * errno from vma_damaged() or vma_refuse(). All mappings are checked, also after a refusal.
	 */
	int (*check)(struct restore *r, const struct task *t, const VmaEntry *v);
	/*
	 * A descriptor of ours to be mapped, or a negative errno (logged); *own: the caller closes it. Mappings of one
	 * kind with the same shmid and access share it. NULL: memory without a file.
	 */
	int (*open)(struct restore *r, const VmaEntry *v, bool *own);
	/*
	 * Adds the calls that make a segment, one of m's, in ascending order, and sets s->prot to the protection with
	 * which they do; may run the batch. 0 or a negative errno (logged). NULL: mmap() of what open() gave, or of
	 * memory without a file.
	 */
	int (*map)(struct batch *b, struct task_mm *m, struct segment *s);
	/* Called for each mapping that was checked, when all of its task have been made. */
	void (*mapped)(struct restore *r, const VmaEntry *v);
	/* Adds the last calls, when the copies of its task have been forked: what a child must not inherit. */
	void (*seal)(struct batch *b, const VmaEntry *v);
};

/* The table, in the order of kinds.h; NULL-terminated. */
extern const struct vma_kind *const vma_kinds[];

/* The row of a mapping in an image, or NULL. */
const struct vma_kind *vma_kind_of(const VmaEntry *v);

/* Restore: whether it is one of the four types, private or shared, of a file or not, and agrees with its flags. */
int vma_check_type(const struct task *t, const VmaEntry *v);

/* Restore: log an error of a mapping, or a reason why it cannot come back; `why` follows "mapping 1000-2000 ". */
int vma_damaged(const struct task *t, const VmaEntry *v, const char *why);
int vma_refuse(const struct task *t, const VmaEntry *v, const char *why);

#endif
