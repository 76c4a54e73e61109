/* SPDX-License-Identifier: GPL-2.0-only */
/* asm-generic/mman-common.h: MADV_DONTNEED_LOCKED, Linux 5.18; MADV_COLLAPSE, Linux 6.1; MADV_GUARD_INSTALL,
 * Linux 6.13. */
#ifndef CRIU_UAPI_MADVISE_H
#define CRIU_UAPI_MADVISE_H

#include <sys/mman.h>

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE  103
#endif

#endif
