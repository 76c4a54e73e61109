/* SPDX-License-Identifier: GPL-2.0-only */
/* Memory fresh from the kernel, zeros, not from malloc(3). */
#ifndef CRIU_LIB_FRESH_MEMORY_H
#define CRIU_LIB_FRESH_MEMORY_H

#include <stddef.h>

/* What is meant to be filled is best taken in multiples of this. */
#define FRESH_HUGE (2UL << 20)

/*
 * In huge pages where the kernel has them (transparent_hugepage): one fault of 0.1 ms instead of 512, which take 0.2
 * ms, or 3 and more where the machine is virtual without the processor's help. NULL: no memory.
 */
void *fresh_memory_huge(size_t len);

/* In ordinary pages: for what is hardly touched. */
void *fresh_memory(size_t len);

void fresh_memory_free(void *memory, size_t len);

#endif
