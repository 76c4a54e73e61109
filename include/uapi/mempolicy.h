/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/mempolicy.h, of which the C library has nothing (numaif.h is libnuma's): set_mempolicy(2), mbind(2). */
#ifndef CRIU_UAPI_MEMPOLICY_H
#define CRIU_UAPI_MEMPOLICY_H

#include <linux/mempolicy.h>

/* The most nodes that a kernel is built for. The calls count one more than there are bits. */
#define MEMPOLICY_NODES 1024
#define MEMPOLICY_BYTES (MEMPOLICY_NODES / 8)

#endif
