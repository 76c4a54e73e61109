/* SPDX-License-Identifier: GPL-2.0-only */
/* What a unit test looks at: the decisions, which few machines can show all of. */
#ifndef CRIU_TASK_SPECULATION_H
#define CRIU_TASK_SPECULATION_H

#include "common.h"

#define SPECULATION_KINDS 3 /* PR_SPEC_STORE_BYPASS, _INDIRECT_BRANCH, _L1D_FLUSH */

/* Whether what PR_GET_SPECULATION_CTRL answered is nothing that the thread has asked for. */
bool speculation_is_default(unsigned kind, int64_t answer);

/* The state to set where a thread wants `wanted` (0: the default) and a new one has `now`; 0: nothing. */
uint32_t speculation_to_set(unsigned kind, uint32_t wanted, int64_t now);

#endif
