/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Syscall user dispatch (Wine): system calls from outside of a range of code become a SIGSYS, prctl(2) with
 * PR_SET_SYSCALL_USER_DISPATCH. Only a tracer can read it, from Linux 6.4 on. The calls of the agent would be such
 * ones: so it is off in a thread from the first look of a dump until the thread is let go, and comes last at a restore.
 * Should criu be killed in between, the guardian turns it on again, some microseconds after the thread runs on.
 */
#include <string.h>
#include <sys/ptrace.h>

#include "agent/inject.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "tree/inventory.h"
#include "tree/subsys.h"
#include "uapi/prctl_new.h"

extern const struct subsys user_dispatch_subsys;

/* struct ptrace_sud_config of linux/ptrace.h. */
struct config {
	uint64_t mode, selector, offset, len;
};

/* A thread in which it is off now. */
struct silenced {
	struct thread *th;
	struct config config;
	int undo, forward;
};

struct dispatch_state {
	struct silenced *list;
	size_t n;
};

static int set_config(pid_t tid, const struct config *c)
{
	return ptrace(PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG, tid, (void *)sizeof(*c), c) ? -errno : 0;
}

/* ---- dump ---- */

static int set_stopped(pid_t tid, const struct config *c)
{
	int err = ptrace_seize(tid, PTRACE_O_TRACESYSGOOD);

	if (err)
		return err;
	err = inject_stop_running(tid, "the guardian's victim");
	if (!err)
		err = set_config(tid, c);
	ptrace_detach(tid, 0);
	return err;
}

/* In the guardian: the entry is older than that of the agent, which has gone by now. */
static int undo_silence(const struct undo *u)
{
	struct tree tree = {};
	struct unfreezer unfreezer = { .tree = &tree, .arena = arena_new(), .spare = u->pid };
	int err;

	if (!unfreezer.arena)
		return -ENOMEM;
	err = MIN(freeze_thaw_cgroups(&unfreezer, u->pid, u->pid, NULL), 0);
	if (!err)
		err = set_stopped(u->pid, u->data);
	freeze_take_back(&tree);
	arena_free(unfreezer.arena);
	return err;
}

static int silence(struct dump *d, struct thread *th, const struct config *c)
{
	struct dispatch_state *s = dump_state(d, &user_dispatch_subsys);
	const struct config off = { 0 };
	struct undo u = {
		.type = UNDO_CALL,
		.call = undo_silence,
		.fd = -1,
		.pid = th->tid,
		.start_time = proc_start_time(th->tid),
		.data = c,
		.data_len = sizeof(*c),
	};
	struct silenced one = { .th = th, .config = *c, .undo = guardian_note(d->guardian, &u), .forward = -1 };
	int err;

	/* After the commit as well, where the tree lives on. */
	u.type = FORWARD_CALL;
	if (one.undo >= 0 && !dump_kills_tree(d))
		one.forward = guardian_note(d->guardian, &u);
	if (one.undo < 0 || (one.forward < 0 && !dump_kills_tree(d)))
		return MIN(one.undo, one.forward);
	arena_push(d->arena, &s->list, &s->n, one);
	err = set_config(th->tid, &off);
	fault_point("user dispatch off");
	return err ? log_errno(err, "%s: ptrace(PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG)", task_thread_name(th)) : 0;
}

/* A flag of the thread's; its leader has been asked. */
static bool is_off_as_in_leader(const struct thread *th)
{
	const struct thread *leader = &th->task->threads[0];
	const struct thread_seen *a = leader->dump->seen, *b = th->dump->seen;

	return th != leader && a && b && a->shown & SHOWN_WORK && a->fixed.work == b->fixed.work &&
	       leader->core->thread_core && !leader->core->thread_core->user_dispatch;
}

static int user_dispatch_peek(struct dump *d, struct thread *th)
{
	ThreadCoreEntry *core = th->core->thread_core;
	struct config c = { 0 };

	if (is_off_as_in_leader(th))
		return 0;
	/* EIO before Linux 6.4. */
	if (ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, th->tid, (void *)sizeof(c), &c) || !c.mode)
		return 0;
	core->user_dispatch = arena_msg(d->arena, UserDispatchEntry, user_dispatch_entry);
	core->user_dispatch->mode = c.mode;
	core->user_dispatch->selector = c.selector;
	core->user_dispatch->offset = c.offset;
	core->user_dispatch->len = c.len;
	inventory_only_ours(d);
	return silence(d, th, &c);
}

/* The threads stand, without the agent. */
static void turn_on_again(struct dump *d)
{
	struct dispatch_state *s = dump_state(d, &user_dispatch_subsys);

	for (size_t i = 0; i < s->n; i++) {
		int err = set_config(s->list[i].th->tid, &s->list[i].config);

		if (err && err != -ESRCH)
			log_warn("%s: syscall user dispatch cannot be turned on again: %s",
			         task_thread_name(s->list[i].th), strerror(-err));
		guardian_drop(d->guardian, s->list[i].undo);
		if (s->list[i].forward >= 0)
			guardian_drop(d->guardian, s->list[i].forward);
	}
	s->n = 0;
}

static void user_dispatch_after_commit(struct dump *d)
{
	if (!dump_kills_tree(d))
		turn_on_again(d);
}

/* ---- restore ---- */

static int user_dispatch_finish(struct restore *r, struct thread *th)
{
	const UserDispatchEntry *e = th->core->thread_core->user_dispatch;
	struct config c;
	int err;

	if (!e || !e->mode)
		return 0;
	c = (struct config) { e->mode, e->selector, e->offset, e->len };
	err = set_config(th->tid, &c);
	return err ? log_errno(err,
	                       "%s: uses syscall user dispatch: ptrace(PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG), from "
	                       "Linux 6.4 on",
	                       task_thread_name(th))
	           : 0;
}

const struct task_part user_dispatch_part = {
	.name = "syscall user dispatch",
	.per_thread = true,
	.peek = user_dispatch_peek,
	.finish = user_dispatch_finish,
};

const struct subsys user_dispatch_subsys = {
	.name = "syscall user dispatch",
	.state = { .dump = sizeof(struct dispatch_state) },
	.after_commit = user_dispatch_after_commit,
	.rollback = turn_on_again,
};
