/* SPDX-License-Identifier: GPL-2.0-only */
/* The mappings of a process: /proc/PID/smaps, or /proc/PID/maps, which says less (proc_pid_smaps(5)). */
#ifndef CRIU_PROC_PROC_MAPS_H
#define CRIU_PROC_PROC_MAPS_H

#include "common.h"
#include "lib/arena.h"

/* VmFlags of smaps that are used, by the kernel's two letters (show_smap_vma_flags() in fs/proc/task_mmu.c).
 */
#define PROC_MAP_FLAGS(X)                                                                                              \
	X(mw) /* may be written to */                                                                                  \
	X(gd) /* grows down */                                                                                         \
	X(pf) /* page frames without struct page */                                                                    \
	X(lo) /* locked */                                                                                             \
	X(lf) /* locked on fault */                                                                                    \
	X(io) /* memory of a device */                                                                                 \
	X(sr)                                                                                                          \
	X(rr)                                                                                                          \
	X(dc)                                                                                                          \
	X(ac) /* counts as committed */                                                                                \
	X(nr)                                                                                                          \
	X(ht) /* hugetlb */                                                                                            \
	X(sf) /* MAP_SYNC */                                                                                           \
	X(wf)                                                                                                          \
	X(dd)                                                                                                          \
	X(hg)                                                                                                          \
	X(nh)                                                                                                          \
	X(mg)                                                                                                          \
	X(um)                                                                                                          \
	X(uw)                                                                                                          \
	X(ui)                                                                                                          \
	X(ss) /* shadow stack */                                                                                       \
	X(sl) /* sealed */                                                                                             \
	X(dp) /* may be dropped */                                                                                     \
	X(gu) /* may have guard pages: some were installed once */                                                     \
	X(mt) /* memory tagging */

enum map_flag_bit {
#define X(name) VMF_BIT_##name,
	PROC_MAP_FLAGS(X)
#undef X
	    VMF_BITS
};

enum map_flag {
#define X(name) VMF_##name = 1 << VMF_BIT_##name,
	PROC_MAP_FLAGS(X)
#undef X
};

struct proc_map {
	uint64_t start, end; /* page-aligned, start < end */
	uint64_t pgoff;      /* bytes */
	uint64_t ino;
	uint32_t major, minor;
	uint32_t prot; /* PROT_* */
	bool shared;
	bool has_flags; /* VmFlags was there */
	bool for_criu;  /* watched for criu's sake, which flags do not show (mm/track.h) */
	uint32_t flags; /* VMF_* */
	uint32_t pkey;
	uint64_t anon_huge;               /* AnonHugePages, bytes */
	uint64_t page_size;               /* KernelPageSize, bytes; 0: not said */
	uint64_t anonymous, shared_dirty; /* Anonymous, Shared_Dirty, bytes */
	const char *name; /* "" for a mapping without a name; " (deleted)" is kept, \012 is a newline again */
};

/*
 * Appends the mappings in a text of len bytes to *maps in the arena; a text that begins with attributes goes on with
 * the last mapping so far, so that a file can be given in pieces of whole lines. The text is foreign and need
 * not end with a zero. -EBADMSG where a line is odd: no such line, addresses that are not ascending or not of whole
 * pages, a name with a zero in it.
 */
int proc_parse_maps(const char *text, size_t len, struct arena *a, struct proc_map **maps, size_t *n);

/* Reads a file of /proc/PID ("smaps", "maps") so. Returns as above, or the errno of reading; logs nothing. */
int proc_read_maps(int proc_fd, const char *file, struct arena *a, struct proc_map **maps, size_t *n);

#endif
