/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: objects of the kernel's own tmpfs, which are shared anonymous memory, memfds and System V segments.
 * Their data is stored once, in pagemap-shmem-<inode>, whichever task has them.
 */
#ifndef CRIU_MM_SHMEM_H
#define CRIU_MM_SHMEM_H

#include "lib/arena_hash.h"
#include "tree/vma_kind.h"

/* An object whose data has to be stored. */
struct shmem_object {
	uint64_t ino;            /* its key: see shmem_key() and SHMEM_SEGMENT */
	const struct task *task; /* the first that has it */
	const char *path;        /* that opens it, in /proc */
	uint64_t size;           /* of shared anonymous memory; 0: not asked for yet */
	bool hugetlb;
	UT_hash_handle hh; /* hh.next: in the order in which they were found */
};

/* Of a segment this is added to the key, since its inode number is the segment's; and the number of its namespace. */
#define SHMEM_SEGMENT  (UINT64_C(1) << 32)
#define SHMEM_NS_SHIFT 33
/* Huge pages have file systems of their own, with numbers of their own: this bit is turned, in what images say as well.
 */
#define SHMEM_HUGE     (UINT64_C(1) << 31)

static inline uint64_t shmem_key(uint64_t ino, bool hugetlb)
{
	return hugetlb ? ino ^ SHMEM_HUGE : ino;
}

/* Whether the object of a mapping lies on the kernel's own tmpfs, where a file cannot be made by its name. */
bool shmem_holds(struct dump *d, const struct proc_map *m);

/* The data of an object is to be stored. path: opens it, in /proc; copied; only that of the first call counts. */
void shmem_note_object(struct dump *d, const struct task *t, uint64_t key, bool hugetlb, const char *path);
void shmem_note_mapping(struct dump *d, const struct task *t, const struct proc_map *m);
void shmem_note_segment(struct dump *d, const struct task *t, const struct proc_map *m, uint64_t key);

/* The first of all objects whose data is to be stored. */
const struct shmem_object *shmem_objects(struct dump *d);

/* The inode number of an object, by which it is known again. */
uint64_t shmem_object_ino(const struct shmem_object *o);

/* Under which number the data of an object is stored, when all are known: its inode's where no other has that. */
uint32_t shmem_object_id(struct dump *d, const struct shmem_object *o);

/* Restore: notes the huge pages that objects take, which were checked (hugetlb_need()). */
void shmem_need_huge(struct restore *r);

/* Whether the data of an object is to be stored already. */
bool shmem_is_noted(struct dump *d, uint64_t key);

#endif
