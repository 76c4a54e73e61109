/* SPDX-License-Identifier: GPL-2.0-only */
/* Small attributes that prctl(2) and personality(2) set: name, personality, timer slack, child subreaper. */
#include <signal.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"
#include "tree/inventory.h"

#define NAME_LEN        16
#define PERSONALITY_ASK 0xffffffffU

/* ---- dump ---- */

struct attrs_asked {
	char name[NAME_LEN];
	int32_t subreaper;
};

enum { ASK_NAME, ASK_SLACK, ASK_PERSONALITY, ASK_SUBREAPER };

static int attrs_ask(struct dump *d, struct thread *th, struct batch *b, void **datap)
{
	raddr_t at = batch_space(b, sizeof(struct attrs_asked), datap);

	batch_ask(b, SYS_prctl, PR_GET_NAME, at);
	batch_ask(b, SYS_prctl, PR_GET_TIMERSLACK);
	batch_ask(b, SYS_personality, PERSONALITY_ASK);
	if (!is_leader(th))
		return 0;
	batch_ask(b, SYS_prctl, PR_GET_CHILD_SUBREAPER, at + offsetof(struct attrs_asked, subreaper));
	return 0;
}

/* The kernel's flags of the task, and the signal that its parent gets when the task ends. */
static void dump_stat(const struct proc_stat *st, TaskCoreEntry *tc)
{
	tc->flags = st->flags;
	if (st->exit_signal != SIGCHLD && st->exit_signal >= 0 && st->exit_signal < NSIG) {
		tc->has_exit_signal = true;
		tc->exit_signal = (uint32_t)st->exit_signal;
	}
}

static int dump_leader_attrs(struct thread *th, const struct answers *ans, const struct attrs_asked *asked)
{
	TaskCoreEntry *tc = th->core->tc;

	if (answer_ret(ans, ASK_SUBREAPER))
		return log_errno(-EPROTO, "%s: prctl(PR_GET_CHILD_SUBREAPER) failed", task_name(th->task));
	tc->personality = (uint32_t)answer_ret(ans, ASK_PERSONALITY);
	tc->comm = th->core->thread_core->comm;
	tc->has_child_subreaper = true;
	tc->child_subreaper = asked->subreaper != 0;
	dump_stat(th->task->dump->stat, tc);
	return 0;
}

/* The format has one for the process; a thread with another one has it in a field of ours. */
static void dump_personality(struct dump *d, struct thread *th, uint32_t persona)
{
	ThreadCoreEntry *core = th->core->thread_core;

	if (persona == tc_of(th)->personality)
		return;
	core->has_personality = true;
	core->personality = persona;
	inventory_only_ours(d);
}

static int attrs_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	struct attrs_asked asked = *(const struct attrs_asked *)ans->data;
	ThreadCoreEntry *core = th->core->thread_core;
	int64_t slack = answer_ret(ans, ASK_SLACK), persona = answer_ret(ans, ASK_PERSONALITY);

	if (answer_ret(ans, ASK_NAME))
		return log_errno(-EPROTO, "%s: prctl(PR_GET_NAME) failed", task_thread_name(th));
	asked.name[NAME_LEN - 1] = 0;
	core->comm = arena_strdup(d->arena, asked.name);
	/* 0: a real-time thread, whose timers have no slack. */
	core->has_timer_slack_ns = slack > 0;
	core->timer_slack_ns = slack > 0 ? (uint64_t)slack : 0;
	if (persona < 0)
		return log_errno((int)persona, "%s: personality", task_thread_name(th));
	if (is_leader(th))
		return dump_leader_attrs(th, ans, &asked);
	dump_personality(d, th, (uint32_t)persona);
	return 0;
}

/* ---- restore ---- */

/* (The exit signal is given to clone3(2), which makes the process.) */
static int attrs_check(struct restore *r, const struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;

	if (is_leader(th) && tc->has_exit_signal && tc->exit_signal >= NSIG)
		return log_errno(-EINVAL, "%s: its image has exit signal %u", task_name(th->task), tc->exit_signal);
	return 0;
}

static void restore_name(const struct thread *th, struct batch *b)
{
	/* The images have the leader's name twice; that in tc is the one that tools show and edit. */
	const char *own = th->core->thread_core->comm, *comm = own && !is_leader(th) ? own : tc_of(th)->comm;
	char name[NAME_LEN] = "";

	memcpy(name, comm, MIN(strlen(comm), sizeof(name) - 1));
	batch_call(b, SYS_prctl, PR_SET_NAME, batch_data(b, name, sizeof(name)));
}

static int attrs_restore(struct restore *r, struct thread *th, struct batch *b)
{
	const ThreadCoreEntry *core = th->core->thread_core;

	if (is_leader(th))
		batch_call(b, SYS_prctl, PR_SET_CHILD_SUBREAPER, th->core->tc->child_subreaper);
	restore_name(th, b);
	batch_call(b, SYS_personality, core->has_personality ? core->personality : tc_of(th)->personality);
	if (core->has_timer_slack_ns)
		batch_call(b, SYS_prctl, PR_SET_TIMERSLACK, core->timer_slack_ns);
	return 0;
}

const struct task_part attrs_part = {
	.name = "name and small attributes",
	.per_thread = true,
	.ask = attrs_ask,
	.dump = attrs_dump,
	.check = attrs_check,
	.restore = attrs_restore,
};
