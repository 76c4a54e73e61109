/* SPDX-License-Identifier: GPL-2.0-only */
/* Letting a frozen tree go, or ending it. */
#include <signal.h>

#include "freeze/freezer.h"
#include "freeze/ptrace.h"
#include "lib/clock.h"
#include "lib/log.h"

/* How long one killed thread may take to end: much memory, a slow file system below a mapping. */
#define DEATH_MS 60000
#define LOOK_MS  10 /* before another one is looked at */

static bool is_living(const struct task *t)
{
	return t->state != TASK_DEAD;
}

/* A task that was killed from outside is no error here: it needs no detaching. */
static int detach_thread(struct task *t)
{
	int err = 0;

	for (size_t i = 0; i < t->n_threads; i++) {
		int one = ptrace_let_go(t->threads[i].tid, i == 0);

		if (one && !err)
			err = log_errno(one, "%s: ptrace(PTRACE_DETACH)", task_thread_name(&t->threads[i]));
	}
	return err;
}

static int send_to(const struct task *t, int sig)
{
	if (kill(task_id(t), sig) == 0 || errno == ESRCH)
		return 0;
	return log_errno(-errno, "%s: kill with signal %d", task_name(t), sig);
}

static bool has_ended(const struct thread *th)
{
	int status, err;

	do {
		err = ptrace_wait(th->tid, LOOK_MS, &status);
	} while (!err);
	return err != -ETIMEDOUT;
}

/*
 * The leader's end is told when all others have ended and been waited for. The last thread of the init of a pid
 * namespace, any of them, ends when that is so of its other threads, too: no order can be kept.
 */
static int wait_dead(const struct task *t)
{
	int64_t until = clock_now_ms() + DEATH_MS;
	const struct thread *last;

	do {
		last = NULL;
		for (size_t i = t->n_threads; i-- > 0;)
			if (!has_ended(&t->threads[i]))
				last = &t->threads[i];
	} while (last && clock_now_ms() < until);
	if (last)
		return log_errno(-ETIMEDOUT, "%s: the task was killed but does not exit", task_thread_name(last));
	return 0;
}

static int kill_all(struct tree *tree)
{
	int err = 0;

	for (size_t i = 0; i < tree->n_tasks; i++)
		if (is_living(tree->tasks[i])) {
			int one = send_to(tree->tasks[i], SIGKILL);

			err = err ?: one;
		}
	/* Children first: the init of a pid namespace ends when all others in it have ended. */
	for (size_t i = tree->n_tasks; i-- > 0;)
		if (is_living(tree->tasks[i])) {
			int one = wait_dead(tree->tasks[i]);

			err = err ?: one;
		}
	return err;
}

/* All signals first: each thread takes the stop before it returns from its trap. */
static int stop_all(struct tree *tree)
{
	int err = 0;

	for (size_t i = 0; i < tree->n_tasks; i++)
		if (tree->tasks[i]->state == TASK_ALIVE) {
			int one = send_to(tree->tasks[i], SIGSTOP);

			err = err ?: one;
		}
	return err;
}

static int detach_all(struct tree *tree)
{
	int err = 0;

	for (size_t i = 0; i < tree->n_tasks; i++)
		if (is_living(tree->tasks[i])) {
			int one = detach_thread(tree->tasks[i]);

			err = err ?: one;
		}
	return err;
}

int thaw_tree(struct tree *tree, enum thaw how)
{
	int err = 0, one;

	if (how == THAW_KILL)
		err = kill_all(tree);
	freeze_cgroup_restore(tree->frozen, how == THAW_KILL);
	if (how == THAW_STOP)
		err = stop_all(tree);
	if (how != THAW_KILL) {
		one = detach_all(tree);
		err = err ?: one;
	}
	freeze_cgroup_settle(tree->frozen, how == THAW_KILL);
	tree->frozen = NULL;
	return err;
}
