/* SPDX-License-Identifier: GPL-2.0-only */
/* PAGEMAP_SCAN of /proc/PID/pagemap: linux/include/uapi/linux/fs.h, Linux 6.7 (PAGE_IS_GUARD: 6.16). */
#ifndef CRIU_UAPI_PAGEMAP_H
#define CRIU_UAPI_PAGEMAP_H

#include <linux/fs.h>
#include <stdint.h>
#include <sys/ioctl.h>

#ifndef PAGEMAP_SCAN
#define PAGEMAP_SCAN          _IOWR('f', 16, struct pm_scan_arg)

#define PM_SCAN_WP_MATCHING   (1 << 0)
#define PM_SCAN_CHECK_WPASYNC (1 << 1)

#define PAGE_IS_WPALLOWED     (1 << 0)
#define PAGE_IS_WRITTEN       (1 << 1)
#define PAGE_IS_FILE          (1 << 2)
#define PAGE_IS_PRESENT       (1 << 3)
#define PAGE_IS_SWAPPED       (1 << 4)
#define PAGE_IS_PFNZERO       (1 << 5)
#define PAGE_IS_HUGE          (1 << 6)

struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};

struct pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};
#endif

#ifndef PAGE_IS_GUARD
#define PAGE_IS_GUARD (1 << 8)
#endif

/* An entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#define PM_PFN         ((UINT64_C(1) << 55) - 1) /* the frame, or swap type and offset; 0 without CAP_SYS_ADMIN */
#define PM_EXCLUSIVE   (UINT64_C(1) << 56)
#define PM_UFFD_WP     (UINT64_C(1) << 57)
#define PM_GUARD       (UINT64_C(1) << 58) /* Linux 6.15 */
#define PM_FILE        (UINT64_C(1) << 61)
#define PM_SWAP        (UINT64_C(1) << 62)
#define PM_PRESENT     (UINT64_C(1) << 63)

/*
 * What shows as swap (PM_SWAP) may be a mark in the page table with nothing behind it: its place is then of type
 * SWP_PTE_MARKER (linux/swap.h), which is the last one, and the "offset" tells which (linux/swapops.h).
 */
#define PM_MARK        UINT64_C(0x1f)               /* the type, in PM_PFN */
#define PM_MARK_WP     (PM_MARK | UINT64_C(1) << 5) /* PTE_MARKER_UFFD_WP, Linux 5.19 */
#define PM_MARK_POISON (PM_MARK | UINT64_C(2) << 5) /* PTE_MARKER_POISONED, Linux 6.6 */
#define PM_MARK_GUARD  (PM_MARK | UINT64_C(4) << 5) /* PTE_MARKER_GUARD, Linux 6.13 */

#endif
