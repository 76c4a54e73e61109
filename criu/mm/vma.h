/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of mm/: the mappings of a task at dump. */
#ifndef CRIU_MM_VMA_H
#define CRIU_MM_VMA_H

#include "tree/dump.h"
#include "proc/proc_maps.h"
#include "lib/arena_hash.h"
#include "mm.pb-c.h"
#include "format.h"

/* Whose pages of a mapping go into the task's own pages file. */
enum vma_pages {
	VMA_PAGES_NONE,   /* not stored here: shared, or the kernel's */
	VMA_PAGES_ANON,   /* all that are there, but for zeros */
	VMA_PAGES_COPIES, /* of a private file mapping: what is not the file's any more */
	VMA_PAGES_ALL,    /* every page, present or not (vdso) */
};

struct vma {
	VmaEntry *entry; /* also in t->mm->vmas */
	enum vma_pages pages;
	uint64_t anon_huge; /* bytes in huge pages, as smaps has it */
};

/* dump_task.vmas of the first task with a memory: its mappings, ascending. */
struct vma_list {
	struct vma *v;
	size_t n;
};

/* A shared object of the kernel's own tmpfs whose data has to be stored: anonymous memory, or a memfd. */
struct shmem_object {
	uint64_t ino;
	const struct task *task; /* of the first that has it */
	const char *path;        /* that opens it, in /proc */
	UT_hash_handle hh;
};

/* What the mappings of all tasks have in common. */
struct mm_shared {
	struct mapped_file *files;    /* mm/vma_dump.c */
	struct shmem_object *objects; /* in the order in which they were found */
	uint64_t shmem_dev;           /* the device of the kernel's own tmpfs, as st_dev; 0: not asked yet */
	bool warned_special;
};

/* That of this dump. */
struct mm_shared *mm_shared_of(struct dump *d);

/* Its data goes into pagemap-shmem-<ino>. path: copied; only that of the first call counts. */
void shmem_note_object(struct dump *d, const struct task *t, uint64_t ino, const char *path);

/* Whether it is known already. */
bool shmem_is_noted(struct dump *d, uint64_t ino);

#endif
