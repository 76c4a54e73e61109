/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: memory in huge pages of hugetlb (MAP_HUGETLB, MFD_HUGETLB, files of a hugetlbfs), of which a machine
 * has a number that was set aside. The size of a page is said by bits of MAP_* and MFD_* flags: its logarithm, from
 * bit 26.
 */
#ifndef CRIU_MM_HUGETLB_H
#define CRIU_MM_HUGETLB_H

#include <linux/mman.h>
#include <sys/stat.h>

#include "pages/page_run.h"
#include "tree/vma_kind.h"

#define HUGETLB_SIZE_BITS ((uint32_t)MAP_HUGE_MASK << MAP_HUGE_SHIFT)
/* What mmap(2) takes of vma_entry.flags for it. */
#define HUGETLB_MAP_FLAGS (MAP_HUGETLB | HUGETLB_SIZE_BITS)

static inline uint32_t hugetlb_map_flags(const VmaEntry *v)
{
	return v->flags & MAP_HUGETLB ? v->flags & HUGETLB_MAP_FLAGS : 0;
}

/* MAP_HUGE_* of a page size, which are MFD_HUGE_* too. */
uint32_t hugetlb_size_flag(uint64_t page_size);

/* The page size that flags ask for; 0: none that can be. */
uint64_t hugetlb_page_size(uint32_t flags);

/* Whether huge pages of that size were ever configured: memfd_create() and mmap() know the size. */
bool hugetlb_is_known(uint64_t page_size);

/* ---- dump ---- */

/* Whether a mapping is of the kernel's own hugetlbfs, which has memory without a file and memfds. */
bool hugetlb_is_anonymous(struct dump *d, const struct proc_map *m);

/* Whether a file is on it. */
bool hugetlb_has_file(const struct stat *st, uint64_t page_size);

/* ---- restore ---- */

/* Whether a mapping has huge pages that can be mapped where it says. 0 or a negative errno (logged), as all. */
int hugetlb_check(const struct task *t, const VmaEntry *v);

/*
 * Notes pages that will be taken: of an object, or of one task's memory. Before anything is started, all that is needed
 * is compared with what is free.
 */
void hugetlb_need(struct restore *r, uint64_t page_size, uint64_t pages);
int hugetlb_check_free(struct restore *r);

/* How many huge pages a pagemap has data of, from one address (or offset) to another. */
uint64_t hugetlb_count_runs(const struct page_run *runs, size_t n, raddr_t from, raddr_t to, uint64_t page_size);

#endif
