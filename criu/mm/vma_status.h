/* SPDX-License-Identifier: GPL-2.0-only */
/* vma_entry.status, by bit (Documentation/IMAGES.md). Inside of mm/. */
#ifndef CRIU_MM_VMA_STATUS_H
#define CRIU_MM_VMA_STATUS_H

enum vma_status {
	VMA_REGULAR = 1 << 0,
	VMA_STACK = 1 << 1,
	VMA_VSYSCALL = 1 << 2,
	VMA_VDSO = 1 << 3,
	VMA_HEAP = 1 << 5,
	VMA_FILE_PRIVATE = 1 << 6,
	VMA_FILE_SHARED = 1 << 7,
	VMA_ANON_SHARED = 1 << 8,
	VMA_ANON_PRIVATE = 1 << 9,
	VMA_SYSVIPC = 1 << 10,
	VMA_SOCKET = 1 << 11,
	VMA_VVAR = 1 << 12,
	VMA_AIORING = 1 << 13,
	VMA_MEMFD = 1 << 14,
	VMA_SHSTK = 1 << 15,
	VMA_GUARD = 1 << 16,
	VMA_UPROBES = 1 << 17,
};

#endif
