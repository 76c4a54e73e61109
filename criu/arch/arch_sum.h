/* SPDX-License-Identifier: GPL-2.0-only */
/* The checksum of pages. */
#ifndef CRIU_ARCH_SUM_H
#define CRIU_ARCH_SUM_H

#include <stddef.h>
#include <stdint.h>

/* XXH3 (xxhash.h), 64 bits, by the widest registers that the processor has for it. */
uint64_t arch_sum(const void *bytes, size_t len);

#endif
