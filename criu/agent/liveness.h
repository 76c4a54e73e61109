/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The common part of an area: a page with the death word, and the agent's text. The death word is a robust futex of the
 * tool's thread that traces: the kernel sets FUTEX_OWNER_DIED in it when that thread ends, before ptrace lets go
 * (kernel/futex/core.c, exit_robust_list; set_robust_list(2)).
 */
#ifndef CRIU_AGENT_LIVENESS_H
#define CRIU_AGENT_LIVENESS_H

#include "arch_page.h"
#include "common.h"

struct liveness;

/* Bytes of the common part; where in it the death word and the agent's entry are. */
size_t liveness_common_size(void);
#define COMMON_LIVENESS 0UL
#define COMMON_ENTRY    PAGE_SIZE

/*
 * Fills a common part that is mapped here, and registers its death word for the calling thread, beside others that are.
 * It stays mapped until liveness_forget(), by the same thread.
 */
struct liveness *liveness_register(void *common);

/* Ends the registration: the agents will not hear of this thread's end any more. */
void liveness_forget(struct liveness *d);

#endif
