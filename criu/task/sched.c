/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Scheduling policy, priority, nice value and affinity of each thread, sched(7); the length of its slices
 * (sched_attr.sched_runtime of normal policies, Linux 6.12), the parameters of SCHED_DEADLINE, utilisation clamps.
 */
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "task/answer.h"
#include "tree/inventory.h"
#include "uapi/sched_attr.h"

#define MASK_MAX       1024 /* bytes: 8192 processors, the most that a kernel is built for */

#define DEADLINE_FLAGS (SCHED_FLAG_RECLAIM | SCHED_FLAG_DL_OVERRUN)

static bool is_real_time(uint32_t policy)
{
	return policy == SCHED_FIFO || policy == SCHED_RR;
}

extern const struct task_part sched_part;

/* What the leader of the task that came last was born with, and its threads of it. */
struct birth_sched {
	const struct task *task;
	struct kernel_sched_attr attr;
};

struct own_slice {
	bool asked;
	uint64_t usual; /* ns; 0: the kernel does not say */
};

static bool is_fair(uint32_t policy)
{
	return policy == SCHED_OTHER || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

static int read_attr(pid_t tid, struct kernel_sched_attr *attr)
{
	*attr = (struct kernel_sched_attr) { .size = sizeof(*attr) };
	if (syscall(SYS_sched_getattr, tid, attr, sizeof(*attr), 0))
		return -errno;
	if (is_fair(attr->policy))
		return 0;
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

/* The length that the kernel chooses: criu's own thread has it, and a machine with more processors another one. */
static uint64_t usual_slice(struct dump *d)
{
	struct own_slice *s = dump_state(d, &sched_part);
	struct kernel_sched_attr own = { .size = sizeof(own) };

	if (!s->asked && !syscall(SYS_sched_getattr, 0, &own, sizeof(own), 0))
		s->usual = own.runtime;
	s->asked = true;
	return s->usual;
}

/* What only some threads have. */
static void dump_extras(struct dump *d, ThreadCoreEntry *core, const struct kernel_sched_attr *attr)
{
	uint64_t usual = is_fair(attr->policy) && attr->runtime ? usual_slice(d) : 0;

	core->has_sched_runtime = attr->policy == SCHED_DEADLINE || (usual && attr->runtime != usual);
	core->sched_runtime = core->has_sched_runtime ? attr->runtime : 0;
	if (attr->policy == SCHED_DEADLINE) {
		core->has_sched_deadline = core->has_sched_period = core->has_sched_flags = true;
		core->sched_deadline = attr->deadline;
		core->sched_period = attr->period;
		core->sched_flags = attr->flags & DEADLINE_FLAGS;
		inventory_only_ours(d);
	}
	/* Both 0: a kernel without. */
	core->has_sched_util_min = core->has_sched_util_max = attr->util_max != 0;
	core->sched_util_min = attr->util_min;
	core->sched_util_max = attr->util_max;
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
	dump_extras(d, core, &attr);
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

	if (saved_policy(core) == SCHED_DEADLINE && (!core->sched_runtime || !core->sched_deadline))
		return log_errno(-EINVAL, "%s: its image has SCHED_DEADLINE without a runtime or a deadline",
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
		.runtime = is_fair(saved_policy(core)) ? core->sched_runtime : 0,
	};
	int op, err;

	if (want.policy == SCHED_DEADLINE) /* from outside, when the agent has no work any more */
		return 0;
	if (want.policy == now->policy && want.flags == (now->flags & SCHED_FLAG_RESET_ON_FORK) &&
	    want.priority == now->priority && (!want.runtime || want.runtime == now->runtime))
		return 0;
	batch_reserve(b, 1, sizeof(want));
	op = batch_ask(b, SYS_sched_setattr, 0, batch_data(b, &want, sizeof(want)), 0);
	err = batch_run(b);
	/* What a task in a user namespace may not do, criu may. */
	if (!err && batch_ret(b, op) < 0 && syscall(SYS_sched_setattr, th->tid, &want, 0))
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
	if (!err && batch_ret(b, op) < 0 && setpriority(PRIO_PROCESS, (id_t)th->tid, core->sched_nice))
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

/* The leader comes first, before its own is changed. */
static int attr_at_birth(struct restore *r, const struct thread *th, struct kernel_sched_attr *attr)
{
	struct birth_sched *birth = restore_state(r, &sched_part);
	int err = 0;

	if (is_leader(th) || birth->task != th->task) {
		birth->task = NULL;
		err = read_attr(th->tid, &birth->attr);
		birth->task = err ? NULL : th->task;
	}
	*attr = birth->attr;
	return err;
}

static int sched_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr now;
	int err = attr_at_birth(r, th, &now);

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

/* ---- restore, from outside: what would hold up an agent, or the policy would reset ---- */

static int set_attr(struct thread *th, struct kernel_sched_attr *want, const char *what)
{
	want->size = sizeof(*want);
	if (!syscall(SYS_sched_setattr, th->tid, want, 0))
		return 0;
	log_warn("%s: %s cannot be given back: sched_setattr: %s%s", task_thread_name(th), what, strerror(errno),
	         errno == EBUSY ? " (too little of the processors is left for SCHED_DEADLINE)" : "");
	return -errno;
}

static void restore_deadline(struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr want = {
		.policy = SCHED_DEADLINE,
		.flags = saved_flags(core) | (core->sched_flags & DEADLINE_FLAGS),
		.runtime = core->sched_runtime,
		.deadline = core->sched_deadline,
		.period = core->sched_period,
	};

	if (core->has_sched_policy && saved_policy(core) == SCHED_DEADLINE)
		set_attr(th, &want, "its policy SCHED_DEADLINE");
}

/* A kernel without clamps has 0 for both, and one with them a maximum. */
static void restore_clamps(struct thread *th)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	struct kernel_sched_attr now, want = {
		.flags = SCHED_FLAG_KEEP_POLICY | SCHED_FLAG_KEEP_PARAMS | SCHED_FLAG_UTIL_CLAMP_MIN |
		         SCHED_FLAG_UTIL_CLAMP_MAX,
		.util_min = core->sched_util_min,
		.util_max = core->sched_util_max,
	};

	if (!core->sched_util_max || read_attr(th->tid, &now) ||
	    (now.util_min == want.util_min && now.util_max == want.util_max))
		return;
	if (now.util_max || want.util_min || want.util_max != 1024)
		set_attr(th, &want, "its utilisation clamps");
}

static int sched_finish(struct restore *r, struct thread *th)
{
	restore_deadline(th);
	restore_clamps(th);
	return 0;
}

const struct task_part sched_part = {
	.name = "scheduling",
	.state = { .dump = sizeof(struct own_slice), .restore = sizeof(struct birth_sched) },
	.per_thread = true,
	.dump = sched_dump,
	.check = sched_check,
	.restore = sched_restore,
	.finish = sched_finish,
};
