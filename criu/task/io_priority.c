/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How the kernel treats the I/O of each thread: its priority, ioprio_set(2), and whether it is one that writes out for
 * others, PR_SET_IO_FLUSHER, so that its memory is not to be had by writing out.
 */
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <string.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "tree/user_ns.h"
#include "uapi/prctl_new.h"

extern const struct task_part io_priority_part;

/* What the leader of the task that came last was born with, and its threads of it. */
struct birth_priority {
	const struct task *task;
	long prio;
};

/* In /proc/PID/stat, where PR_GET_IO_FLUSHER is not allowed: PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE of the kernel. */
#define PF_IO_FLUSHER 0x180000U

static int io_priority_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	batch_ask(b, SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0);
	batch_ask(b, SYS_prctl, PR_GET_IO_FLUSHER);
	return 0;
}

/* The call takes CAP_SYS_RESOURCE; a thread without it has what its leader has, most likely. */
static bool is_flusher(const struct thread *th, int64_t answer)
{
	return answer >= 0 ? answer == 1 : (th->task->dump->stat->flags & PF_IO_FLUSHER) == PF_IO_FLUSHER;
}

static int io_priority_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	ThreadCoreEntry *core = th->core->thread_core;
	int64_t prio = answer_ret(ans, 0);

	/* Of class NONE: the priority follows the nice value. Kernels differ in what they say beside the class. */
	core->has_io_priority = prio >= 0 && IOPRIO_PRIO_CLASS(prio) != IOPRIO_CLASS_NONE;
	core->io_priority = core->has_io_priority ? (uint32_t)prio : 0;
	core->has_io_flusher = core->io_flusher = is_flusher(th, answer_ret(ans, 1));
	return 0;
}

static int io_priority_check(struct restore *r, const struct thread *th)
{
	if (th->core->thread_core->io_flusher && user_ns_of_task(user_ns_of_restore(r), th->task))
		return log_refusal(
		    -EPERM,
		    "%s: writes out for others (PR_SET_IO_FLUSHER), which no process in a user namespace "
		    "may set: clear it before the dump",
		    task_thread_name(th));
	if (!th->core->thread_core->io_flusher || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) >= 0)
		return 0;
	return log_refusal(-errno, "%s: writes out for others (PR_SET_IO_FLUSHER), which takes CAP_SYS_RESOURCE to set",
	                   task_thread_name(th));
}

/* The leader comes first, before its own is changed. */
static long priority_at_birth(struct restore *r, const struct thread *th)
{
	struct birth_priority *birth = restore_state(r, &io_priority_part);

	if (is_leader(th) || birth->task != th->task)
		*birth = (struct birth_priority) { th->task, syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, th->tid) };
	return birth->prio;
}

static int io_priority_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;
	long own = priority_at_birth(r, th);
	bool has = own >= 0 && IOPRIO_PRIO_CLASS(own) != IOPRIO_CLASS_NONE;
	int op, err;

	if (core->io_flusher)
		batch_call(b, SYS_prctl, PR_SET_IO_FLUSHER, 1);
	if (core->has_io_priority ? has && (uint32_t)own == core->io_priority : !has)
		return 0;
	batch_reserve(b, 1, 0);
	op = batch_ask(b, SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, core->io_priority);
	err = batch_run(b);
	/* What a task in a user namespace may not do, criu may. */
	if (!err && batch_ret(b, op) < 0 && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, th->tid, core->io_priority))
		log_warn("%s: its I/O priority stays class %d, level %d, it was class %d, level %d: ioprio_set: %s",
		         task_thread_name(th), has ? (int)IOPRIO_PRIO_CLASS(own) : 0,
		         has ? (int)IOPRIO_PRIO_DATA(own) : 0, (int)IOPRIO_PRIO_CLASS(core->io_priority),
		         (int)IOPRIO_PRIO_DATA(core->io_priority), strerror((int)-batch_ret(b, op)));
	return err;
}

const struct task_part io_priority_part = {
	.name = "I/O priority",
	.state = { .restore = sizeof(struct birth_priority) },
	.per_thread = true,
	.ask = io_priority_ask,
	.dump = io_priority_dump,
	.check = io_priority_check,
	.restore = io_priority_restore,
};
