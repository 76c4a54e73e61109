/* SPDX-License-Identifier: GPL-2.0-only */
/* sched_setattr(2): linux/sched/types.h, which cannot be included beside sched.h of every libc. */
#ifndef CRIU_UAPI_SCHED_ATTR_H
#define CRIU_UAPI_SCHED_ATTR_H

#include <stdint.h>

struct kernel_sched_attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

#ifndef SCHED_DEADLINE
#define SCHED_DEADLINE 6
#endif
#ifndef SCHED_FLAG_RESET_ON_FORK
#define SCHED_FLAG_RESET_ON_FORK 1
#endif

#endif
