/* SPDX-License-Identifier: GPL-2.0-only */
/* What is read of each thread: by ptrace, and by the agent while it is inside the task. */
#include <string.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "arch/arch.h"
#include "dump/answer_alike.h"
#include "dump/inside.h"
#include "freeze/ptrace.h"
#include "lib/fault.h"
#include "lib/fiber.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/kind.h"
#include "tree/subsys.h"

/* That of a leader was read when it stood. */
static int read_status(struct dump *d, struct thread *th)
{
	struct proc_status *status;
	int err;

	if (th->task->dump->alike & ALIKE_STATUS && !th->dump->status)
		th->dump->status = th->task->threads[0].dump->status;
	if (th->dump->status)
		return 0;
	status = arena_new_of(d->arena, struct proc_status);
	err = proc_read_status(th->task->dump->proc_fd, th->tid, d->arena, status);
	th->dump->status = status;
	return err ? log_errno(err, "%s: reading its status", task_thread_name(th)) : 0;
}

static bool has_no_tls(const struct thread_seen *seen)
{
	return seen && seen->shown & SHOWN_TLS && !(seen->tls[0] | seen->tls[1] | seen->tls[2]);
}

static int read_registers(struct dump *d, struct thread *th)
{
	int err = read_status(d, th);

	if (err)
		return err;
	th->dump->regs =
	    has_no_tls(th->dump->seen) ? arch_regs_get_plain(d->arena, th->tid) : arch_regs_get(d->arena, th->tid);
	if (!th->dump->regs)
		return -ESRCH;
	if (th == th->task->threads)
		th->task->compat = arch_regs_is_compat(th->dump->regs);
	else if (th->task->compat != arch_regs_is_compat(th->dump->regs))
		return log_refusal(-EOPNOTSUPP,
		                   "%s: runs code of another kind (%s) than its leader, which is not supported; try "
		                   "again when both run the same",
		                   task_thread_name(th), th->task->compat ? "64-bit" : "32-bit");
	err = ptrace_get_sigmask(th->tid, &th->dump->sigmask);
	return err ? log_errno(err, "%s: reading its signal mask", task_thread_name(th)) : 0;
}

static bool part_applies(const struct task_part *p, const struct thread *th)
{
	return th == th->task->threads || p->per_thread;
}

int dump_peek(struct dump *d, struct thread *th)
{
	int err = read_registers(d, th);

	th->core->thread_core = arena_msg(d->arena, ThreadCoreEntry, thread_core_entry);
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->peek && part_applies(*p, th))
			err = (*p)->peek(d, th);
	return err;
}

#define PARTS_MAX 64

/* What a thread was asked: the first operation and the data of each row. */
struct asked {
	int first[PARTS_MAX];
	void *data[PARTS_MAX];
};

static int ask_rows(struct dump *d, struct thread *th, struct batch *b, struct asked *asked)
{
	int err = 0;

	for (size_t i = 0; !err && task_parts[i]; i++) {
		if (!task_parts[i]->ask || !part_applies(task_parts[i], th))
			continue;
		asked->first[i] = (int)b->n;
		batch_what(b, task_parts[i]->name);
		fiber_hold();
		err = task_parts[i]->ask(d, th, b, &asked->data[i]);
		fiber_release();
	}
	return err;
}

/* Asks all rows, and sets the thread's agent to work without waiting for it. */
static int ask_thread(struct dump *d, struct thread *th, struct asked *asked)
{
	struct batch *b = agent_batch(th->dump->agent, "asking for its state");
	int err = agent_wait(th->dump->agent);

	if (!err)
		err = ask_rows(d, th, b, asked);
	if (!err)
		batch_start(b);
	return err;
}

/* Hands the answers round. */
static int hand_round(struct dump *d, struct thread *th, const struct agent_op *ops, const struct asked *asked)
{
	int err = 0;

	for (size_t i = 0; !err && task_parts[i]; i++) {
		struct answers answers = { ops + asked->first[i], asked->data[i] };

		if (!task_parts[i]->dump || !part_applies(task_parts[i], th))
			continue;
		fiber_hold();
		err = task_parts[i]->dump(d, th, &answers);
		fiber_release();
	}
	return err;
}

static int dump_registers(struct dump *d, struct thread *th)
{
	struct thread_regs *regs = arch_regs_dup(d->arena, th->dump->regs);

	arch_regs_settle_restart(regs);
	return arch_regs_to_core(d->arena, regs, th->core);
}

/* Threads of a task, and what they were asked. model: one whose answers stand for those of many, or NULL. */
struct round {
	struct dump *d;
	const struct thread *model;
	struct alike *alike; /* what the model has said; NULL: not known */
	struct asked *asked; /* of each that has an agent */
};

/* 0: the thread has to be asked itself. */
static int dump_alike(struct round *r, struct thread *th)
{
	struct asked asked = { 0 };
	int err = ask_rows(r->d, th, answer_alike_batch(r->alike, th), &asked);

	if (!answer_alike_say(r->alike, th) || err)
		return err;
	return hand_round(r->d, th, answer_alike_ops(r->alike), &asked) ?: dump_registers(r->d, th) ?: 1;
}

static int dump_asked(struct round *r, struct thread *th, const struct asked *asked)
{
	int err = batch_finish(&th->dump->agent->batch);

	if (!err && th == r->model)
		r->alike = answer_alike_keep(r->d->arena, th);
	return err ?: hand_round(r->d, th, th->dump->agent->ops, asked) ?: dump_registers(r->d, th);
}

static int dump_alone(struct round *r, struct thread *th)
{
	struct asked asked = { 0 };
	int err = agent_infect_thread(r->d, th);

	return err ?: ask_thread(r->d, th, &asked) ?: dump_asked(r, th, &asked);
}

static int dump_one(struct round *r, struct thread *th, const struct asked *asked)
{
	int done = 0;

	if (th->dump->agent)
		return dump_asked(r, th, asked);
	if (r->alike)
		done = dump_alike(r, th);
	return done ? MIN(done, 0) : dump_alone(r, th);
}

/* Of those that are as the model, or those that are not. All work side by side. */
static int ask_some(struct round *r, struct task *t, bool alike)
{
	int err = 0;

	for (size_t i = 1; !err && i < t->n_threads; i++)
		if (answer_alike_is(r->model, &t->threads[i]) == alike)
			err = agent_infect_thread(r->d, &t->threads[i]);
	for (size_t i = alike; !err && i < t->n_threads; i++)
		if (answer_alike_is(r->model, &t->threads[i]) == alike)
			err = ask_thread(r->d, &t->threads[i], &r->asked[i]);
	return err;
}

/* What the threads that have agents answer stays in their slots until it is read. */
static int ask_inside(struct dump *d, struct task *t)
{
	struct round r = { .d = d, .model = answer_alike_model(t) };
	int err;

	r.asked = arena_array(d->arena, struct asked, t->n_threads);
	err = ask_some(&r, t, false);
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		err = dump_one(&r, &t->threads[i], &r.asked[i]);
		if (!err && &t->threads[i] == r.model && !r.alike)
			err = ask_some(&r, t, true);
	}
	return err ?: subsys_run_all(inside, d, t);
}

static int go_inside(struct dump *d, struct task *t, int (*ask)(struct dump *d, struct task *t))
{
	int err = agent_infect(d, t), left;

	log_debug("%s: asking %zu threads from inside", task_name(t), t->n_threads);

	fault_point("agent entered");
	if (!err)
		err = ask(d, t);
	fault_point("agent asked");
	left = agent_cure(d, t);
	fault_point("agent left");
	return err ?: left;
}

struct some_tasks {
	struct dump *d;
	struct task *const *tasks;
	int (*ask)(struct dump *d, struct task *t);
};

static int ask_one(void *arg, size_t i)
{
	struct some_tasks *s = arg;

	return go_inside(s->d, s->tasks[i], s->ask);
}

static int ask_all(struct some_tasks *s, size_t n)
{
	int errs[FIBERS_MAX], err = 0;

	fiber_run(n, ask_one, s, errs);
	for (size_t i = 0; i < n; i++)
		err = err ?: errs[i];
	return err;
}

int dump_inside(struct dump *d, struct task *const tasks[], size_t n)
{
	struct some_tasks s = { d, tasks, ask_inside };

	return ask_all(&s, n);
}

static int ask_briefly(struct dump *d, struct task *t)
{
	int err = agent_wait(t->threads[0].dump->agent);

	return err ?: subsys_run(pre_inside, d, t);
}

int dump_inside_briefly(struct dump *d, struct task *t)
{
	return go_inside(d, t, ask_briefly);
}
