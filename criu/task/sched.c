/* SPDX-License-Identifier: GPL-2.0-only */
/* Scheduling policy, priority, nice value and affinity of each thread: sched(7). */
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "uapi/sched_attr.h"

#define MASK_MAX 1024 /* bytes: 8192 processors, the most that a kernel is built for */

static bool is_real_time(uint32_t policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

static int read_attr(pid_t tid, struct kernel_sched_attr *attr)
{
	*attr = (struct kernel_sched_attr) { .size = sizeof(*attr) };
	if (syscall(SYS_sched_getattr, tid, attr, sizeof(*attr), 0))
		return -errno;
	/* sched_getattr tells it of normal policies only, but a thread of any policy has one. */
	errno = 0;
	attr->nice = getpriority(PRIO_PROCESS, (id_t)tid);
	return errno ? -errno : 0;
}

static int read_mask(pid_t tid, uint8_t mask[MASK_MAX], size_t *len)
{
	long ret = syscall(SYS_sched_getaffinity, tid, MASK_MAX, mask);

	if (ret < 0)
		return -errno;
	*len = (size_t)ret;
	return 0;
}

static int sched_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr attr;
	uint8_t mask[MASK_MAX];
	size_t len = 0;
	int err = read_attr(th->tid, &attr);

	if (!err)
		err = read_mask(th->tid, mask, &len);
	if (err)
		return log_errno(err, "%s: sched_getattr, getpriority or sched_getaffinity", task_thread_name(th));
	if (attr.policy == SCHED_DEADLINE)
		return log_refusal(-EOPNOTSUPP,
		                   "%s: its scheduling policy SCHED_DEADLINE is not supported; give it another "
		                   "one with chrt(1)",
		                   task_thread_name(th));
	core->has_sched_policy = core->has_sched_nice = true;
	core->sched_policy = attr.policy | (attr.flags & SCHED_FLAG_RESET_ON_FORK ? SCHED_RESET_ON_FORK : 0);
	core->sched_nice = attr.nice;
	core->has_sched_prio = is_real_time(attr.policy);
	core->sched_prio = attr.priority;
	core->has_cpu_affinity = true;
	core->cpu_affinity.len = len;
	core->cpu_affinity.data = arena_memdup(d->arena, mask, len);
	return 0;
}

static uint32_t saved_policy(const ThreadCoreEntry *core)
{
	return core->sched_policy & ~(uint32_t)SCHED_RESET_ON_FORK;
}

/* In the policy, as sched_setscheduler(2) takes it; our older images have it in a field of its own. */
static uint64_t saved_flags(const ThreadCoreEntry *core)
{
	return core->sched_policy & SCHED_RESET_ON_FORK ? SCHED_FLAG_RESET_ON_FORK
	                                                : core->sched_flags & SCHED_FLAG_RESET_ON_FORK;
}

static int sched_check(struct restore *r, const struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	if (saved_policy(core) == SCHED_DEADLINE)
		return log_refusal(-EOPNOTSUPP, "%s: the scheduling policy SCHED_DEADLINE is not supported",
		                   task_thread_name(th));
	if (core->sched_nice < -20 || core->sched_nice > 19 || core->sched_prio > 99 ||
	    core->cpu_affinity.len > MASK_MAX)
		return log_errno(-EINVAL, "%s: its image has nice %d, priority %u, a processor mask of %zu bytes",
		                 task_thread_name(th), core->sched_nice, core->sched_prio, core->cpu_affinity.len);
	return 0;
}

/* ---- restore: only what differs from a new thread's ---- */

static int restore_policy(struct thread *th, struct batch *b, const struct kernel_sched_attr *now)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr want = {
		.size = sizeof(want),
		.policy = saved_policy(core),
		.flags = saved_flags(core),
		.nice = now->nice,
		.priority = is_real_time(saved_policy(core)) ? core->sched_prio : 0,
	};
	int op, err;

	if (want.policy == now->policy && want.flags == (now->flags & SCHED_FLAG_RESET_ON_FORK) &&
	    want.priority == now->priority)
		return 0;
	batch_reserve(b, 1, sizeof(want));
	op = batch_ask(b, SYS_sched_setattr, 0, batch_data(b, &want, sizeof(want)), 0);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: its scheduling policy stays %u with priority %u, it was %u with %u: %s",
		         task_thread_name(th), now->policy, now->priority, want.policy, want.priority,
		         strerror((int)-batch_ret(b, op)));
	return err;
}

static int restore_nice(struct thread *th, struct batch *b, const struct kernel_sched_attr *now)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	int op, err;

	if (!core->has_sched_nice || core->sched_nice == now->nice)
		return 0;
	batch_reserve(b, 1, 0);
	op = batch_ask(b, SYS_setpriority, PRIO_PROCESS, 0, (uint64_t)core->sched_nice);
	err = batch_run(b);
	if (!err && batch_ret(b, op) < 0)
		log_warn("%s: its nice value stays %d, it was %d: %s", task_thread_name(th), now->nice,
		         core->sched_nice, strerror((int)-batch_ret(b, op)));
	return err;
}

static bool same_mask(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	for (size_t i = 0; i < MAX(a_len, b_len); i++)
		if ((i < a_len ? a[i] : 0) != (i < b_len ? b[i] : 0))
			return false;
	return true;
}

/* The kernel leaves out processors that do not exist or are not allowed. */
static int restore_mask(struct thread *th, struct batch *b)
{
	const ProtobufCBinaryData *want = &th->core->thread_core->cpu_affinity;
	uint8_t now[MASK_MAX];
	size_t len = 0;
	int op, err = read_mask(th->tid, now, &len);

	if (err)
		return log_errno(err, "%s: sched_getaffinity", task_thread_name(th));
	if (same_mask(want->data, want->len, now, len))
		return 0;
	batch_reserve(b, 1, want->len);
	op = batch_ask(b, SYS_sched_setaffinity, 0, want->len, batch_data(b, want->data, want->len));
	err = batch_run(b);
	if (err)
		return err;
	if (batch_ret(b, op) < 0 || read_mask(th->tid, now, &len) || !same_mask(want->data, want->len, now, len))
		log_warn("%s: ran on processors that do not exist here or are not allowed; now runs on %s",
		         task_thread_name(th), batch_ret(b, op) < 0 ? "all that are allowed" : "the others");
	return 0;
}

static int sched_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr now;
	int err = read_attr(th->tid, &now);

	if (err)
		return log_errno(err, "%s: sched_getattr, getpriority or sched_getaffinity", task_thread_name(th));
	if (core->has_sched_policy)
		err = restore_policy(th, b, &now);
	if (!err)
		err = restore_nice(th, b, &now);
	if (!err && core->has_cpu_affinity && core->cpu_affinity.len)
		err = restore_mask(th, b);
	return err;
}

const struct task_part sched_part = {
	.name = "scheduling",
	.per_thread = true,
	.dump = sched_dump,
	.check = sched_check,
	.restore = sched_restore,
};
