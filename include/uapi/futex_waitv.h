/* SPDX-License-Identifier: GPL-2.0-only */
/* futex_waitv(2), Linux 5.16: linux/futex.h, for headers older than that. */
#ifndef CRIU_UAPI_FUTEX_WAITV_H
#define CRIU_UAPI_FUTEX_WAITV_H

#include <linux/futex.h>

#ifndef FUTEX_32
#define FUTEX_32 2

struct futex_waitv {
	unsigned long long val;
	unsigned long long uaddr;
	unsigned int flags;
	unsigned int __reserved;
};
#endif

#endif
