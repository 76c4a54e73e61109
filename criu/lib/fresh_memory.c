/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/fresh_memory.h"

#include <stdint.h>
#include <sys/mman.h>

#include "common.h"

void *fresh_memory(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Kernels before 6.7 place mappings anywhere, a huge page begins at a multiple of its size. */
static void *map_aligned(size_t len)
{
	unsigned char *p = fresh_memory(len + FRESH_HUGE);
	size_t before = p ? (size_t)(-(uintptr_t)p % FRESH_HUGE) : 0;

	if (!p)
		return NULL;
	if (before)
		munmap(p, before);
	munmap(p + before + len, FRESH_HUGE - before);
	return p + before;
}

void *fresh_memory_huge(size_t len)
{
	void *p = fresh_memory(len);

	if (p && (uintptr_t)p % FRESH_HUGE) {
		munmap(p, len);
		p = map_aligned(len);
	}
	if (p)
		madvise(p, len, MADV_HUGEPAGE);
	return p;
}

void fresh_memory_free(void *memory, size_t len)
{
	if (memory)
		munmap(memory, len);
}
