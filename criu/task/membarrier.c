/* SPDX-License-Identifier: GPL-2.0-only */
/* A process's registrations for membarrier(2). */
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "uapi/prctl_new.h"

static int membarrier_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_membarrier, MEMBARRIER_GET_REGISTRATIONS);
	return 0;
}

static int membarrier_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	int64_t registered = answer_ret(ans, 0);

	if (registered > 0) {
		th->core->tc->has_membarrier_registration_mask = true;
		th->core->tc->membarrier_registration_mask = (uint32_t)registered;
	}
	return 0;
}

static int membarrier_check(struct restore *r, const struct thread *th)
{
	uint32_t wanted = th->core->tc->membarrier_registration_mask;
	long supported = wanted ? syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) : 0;

	if (supported >= 0 && !(wanted & ~(uint32_t)supported))
		return 0;
	return log_refusal(-EOPNOTSUPP, "%s: is registered for membarrier(2) commands %x; this kernel has %lx",
	                   task_name(th->task), wanted, supported);
}

static int membarrier_restore(struct restore *r, struct thread *th, struct batch *b)
{
	for (unsigned bit = 0; bit < 32; bit++)
		if (th->core->tc->membarrier_registration_mask & (1U << bit))
			batch_call(b, SYS_membarrier, 1U << bit);
	return 0;
}

const struct task_part membarrier_part = {
	.name = "membarrier registrations",
	.ask = membarrier_ask,
	.dump = membarrier_dump,
	.check = membarrier_check,
	.restore = membarrier_restore,
};
