/* SPDX-License-Identifier: GPL-2.0-only */
#include "arch/arch_sum.h"

#include "sum_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t arch_sum(const void *bytes, size_t len)
{
	return __builtin_cpu_supports("avx2") ? sum_avx2(bytes, len) : XXH3_64bits(bytes, len);
}
