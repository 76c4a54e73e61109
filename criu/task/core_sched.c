/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Core scheduling: threads with one cookie may run side by side on the threads of one core, PR_SCHED_CORE. The kernel
 * shows a number for each cookie, which only tells cookies apart, and makes new ones: those that are equal in the tree
 * are equal again. The first thread with a cookie makes it, the others get it from that thread.
 */
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "tree/inventory.h"
#include "uapi/prctl_new.h"

extern const struct task_part core_sched_part;

/* Cookies in the order in which they were met. */
struct cookies {
	uint64_t *known; /* dump: the kernel's numbers */
	size_t n;
	bool absent; /* dump: no thread has one here */
	pid_t *made; /* restore: by which thread, as the tree numbers it */
	size_t n_made;
};

static int core_sched_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	struct cookies *c = dump_state(d, &core_sched_part);
	ThreadCoreEntry *core = th->core->thread_core;
	unsigned long cookie = 0;
	size_t i = 0;

	if (c->absent)
		return 0;
	/* EINVAL: a kernel without; ENODEV: a processor whose cores have one thread. */
	if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, th->tid, PR_SCHED_CORE_SCOPE_THREAD, &cookie))
		c->absent = errno == EINVAL || errno == ENODEV;
	if (!cookie)
		return 0;
	while (i < c->n && c->known[i] != cookie)
		i++;
	if (i == c->n)
		arena_push(d->arena, &c->known, &c->n, cookie);
	core->has_core_cookie = true;
	core->core_cookie = (uint32_t)i + 1;
	inventory_only_ours(d);
	return 0;
}

static int core_sched_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	unsigned long cookie;

	if (!core->core_cookie || !prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie))
		return 0;
	if (errno == ENODEV) /* each thread of this processor has a core of its own: what the cookie is for */
		return 0;
	return log_refusal(-errno,
	                   "%s: has a cookie for core scheduling (PR_SCHED_CORE), which this kernel does not know "
	                   "(CONFIG_SCHED_CORE)",
	                   task_thread_name(th));
}

/* In the thread itself: a process that hands a cookie on has it from then on. */
static int core_sched_restore(struct restore *r, struct thread *th, struct batch *b)
{
	struct cookies *c = restore_state(r, &core_sched_part);
	uint32_t number = th->core->thread_core->core_cookie;
	size_t i = 0;
	int op, err;

	if (!number)
		return 0;
	while (i < c->n && c->known[i] != number)
		i++;
	batch_reserve(b, 1, 0);
	if (i < c->n) {
		op = batch_ask(b, SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, (uint64_t)c->made[i],
		               PR_SCHED_CORE_SCOPE_THREAD);
	} else {
		op = batch_ask(b, SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD);
		arena_push(r->arena, &c->known, &c->n, (uint64_t)number);
		arena_push(r->arena, &c->made, &c->n_made, th->vtid.v);
	}
	err = batch_run(b);
	if (err || batch_ret(b, op) >= 0 || batch_ret(b, op) == -ENODEV)
		return err;
	return log_errno((int)batch_ret(b, op), "%s: prctl(PR_SCHED_CORE)", task_thread_name(th));
}

const struct task_part core_sched_part = {
	.name = "core scheduling",
	.state = { .dump = sizeof(struct cookies), .restore = sizeof(struct cookies) },
	.per_thread = true,
	.dump = core_sched_dump,
	.check = core_sched_check,
	.restore = core_sched_restore,
};
