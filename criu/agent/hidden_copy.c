/* SPDX-License-Identifier: GPL-2.0-only */
#include "agent/hidden_copy.h"

#include <linux/close_range.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "agent/inject.h"
#include "freeze/ptrace.h"
#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"

#define STOP_MS     10000
/* So many ends of parents are followed. */
#define PARENTS_MAX 16
/* How long a killed copy may take to its end: a large memory takes time to go, a busy machine lets it wait. */
#define END_MS      60000

/* What the guardian has to know. pid: 0 as long as the child has not been found. */
struct copy_note {
	uint64_t since, start_time;
	pid_t pid;
};

/* ---- after criu's death, in the guardian ---- */

static bool is_noted_copy(const struct copy_note *note, pid_t pid, const struct proc_stat *st)
{
	if (st->exit_signal)
		return false;
	return note->pid ? pid == note->pid && st->start_time == note->start_time : st->start_time >= note->since;
}

/* The number of the child, and its stat; 0: it is gone, or was never made. */
static pid_t find_noted(struct arena *a, pid_t parent, const struct copy_note *note, struct proc_stat *st)
{
	pid_t *pids = NULL;
	size_t n = 0;

	proc_add_children(a, parent, &pids, &n);
	for (size_t i = 0; i < n; i++)
		if (!proc_stat_of(pids[i], st) && is_noted_copy(note, pids[i], st))
			return pids[i];
	return 0;
}

/* Its number in its own pid namespace; ours where the kernel does not tell. */
static pid_t inner_number(pid_t pid)
{
	_cleanup_close_ int proc = proc_open(pid);
	struct proc_status status;

	if (proc < 0 || proc_read_status(proc, 0, NULL, &status) || !status.ns_tgid.levels)
		return pid;
	return status.ns_tgid.inner;
}

/*
 * The kernel kills it with criu (PTRACE_O_EXITKILL), or the agent's death word ends it, which may be before criu has
 * let go of it: as long as that traces it, no wait of its parent's gets it.
 */
static int undo_copy(const struct undo *u)
{
	const struct copy_note *note = u->data;
	uint64_t until = clock_now_us() + END_MS * 1000;
	struct arena *a = arena_new();
	struct proc_stat st;
	int err = 0;

	if (!note->pid) /* the agent may be about to make it, or in the middle */
		agent_await_left(u->pid, u->addr, u->size);
	while (a && clock_now_us() < until) {
		pid_t pid = find_noted(a, u->pid, note, &st);

		if (!pid)
			break;
		if (st.state != 'Z')
			kill(pid, SIGKILL);
		else if (waitpid(pid, NULL, WNOHANG | __WALL) !=
		         pid) /* born while we traced its task, it is our tracee */
			err = agent_reap(u->pid, inner_number(pid), 0, u->addr, u->size);
		usleep(1000);
	}
	if (a)
		arena_free(a);
	return err;
}

static int note_copy(struct dump *d, const struct task *t, const struct copy_note *note)
{
	struct undo u = {
		.type = UNDO_CALL,
		.call = undo_copy,
		.fd = -1,
		.pid = t->pid,
		.start_time = t->dump->stat ? t->dump->stat->start_time : proc_start_time(t->pid),
		.data = note,
		.data_len = sizeof(*note),
	};

	u.addr = agent_area(t, &u.size);
	return guardian_note(d->guardian, &u);
}

/* ---- its birth ---- */

/* As start times in /proc/PID/stat are counted. */
static uint64_t ticks_now(void)
{
	uint64_t per_second = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * per_second + (uint64_t)now.tv_nsec / (1000000000 / per_second);
}

static uint64_t start_of(const struct task *t)
{
	return t->dump->stat ? t->dump->stat->start_time : proc_start_time(t->pid);
}

/*
 * Before its number is known a copy is told from the tree's own processes by its age: the next tick is awaited where
 * one of them is as young.
 */
static uint64_t first_tick(const struct dump *d)
{
	uint64_t now = ticks_now();

	for (size_t i = 0; i < d->tree.n_tasks; i++)
		while (start_of(d->tree.tasks[i]) >= now) {
			usleep(500);
			now = ticks_now();
		}
	return now;
}

/* The one child of a frozen task that does not belong to the tree. */
static pid_t find_child(struct dump *d, const struct task *t, struct proc_stat *st)
{
	const struct copy_note any = { 0 };
	pid_t *pids = NULL;
	size_t n = 0;

	proc_add_children(d->arena, t->pid, &pids, &n);
	for (size_t i = n; i-- > 0;)
		if (!tree_find_ours(&d->tree, pids[i]) && !proc_stat_of(pids[i], st) &&
		    is_noted_copy(&any, pids[i], st))
			return pids[i];
	return 0;
}

/* CLONE_PTRACE: our tracee from its first instant. The table of descriptors is shared, so that no file is touched. */
static int make_child(struct task *t, const struct agent *child, int64_t *number)
{
	struct clone_args args = { .flags = CLONE_PTRACE | CLONE_FILES };
	struct batch *b = agent_batch(t->threads[0].dump->agent, "a copy of its memory");
	int op = batch_clone(b, &args, child, 0), err = batch_run(b);

	*number = err ? 0 : batch_ret(b, op);
	return err;
}

static int await_birth(const struct task *t, pid_t pid)
{
	const struct proc_status *status = t->threads[0].dump->status;
	unsigned long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL;
	int got, err = ptrace_wait(pid, STOP_MS, &got);

	if (status && status->seccomp)
		options |= PTRACE_O_SUSPEND_SECCOMP;
	if (!err && stop_event(got) != PTRACE_EVENT_STOP)
		err = -EPROTO;
	if (!err)
		err = ptrace_set_options(pid, options);
	if (!err)
		err = ptrace_cont(pid, 0);
	return err ? log_errno(err, "%s: the first stop of the copy of its memory (pid %d)", task_name(t), pid) : 0;
}

/* It holds nothing that others could notice: descriptors, its directory, memory that is not copied. */
static int let_go_of_all(struct agent *a, const struct hidden_range *gone, size_t n)
{
	struct batch *b;
	int err = agent_wait(a);

	if (err)
		return err;
	b = agent_batch(a, "leaving what its task has");
	batch_call(b, SYS_close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
	batch_ask(b, SYS_chdir, batch_string(b, "/"));
	for (size_t i = 0; i < n; i++)
		batch_ask(b, SYS_munmap, gone[i].start, gone[i].end - gone[i].start);
	return batch_run(b);
}

static int settle_child(struct agent *a, struct hidden_copy *c, const struct hidden_range *gone, size_t n)
{
	bool stop_came;
	int err = await_birth(c->task, c->pid);

	a->tid = c->pid;
	if (!err)
		err = let_go_of_all(a, gone, n);
	if (!err)
		err = inject_stop_thread(c->pid, "a copy of memory", &stop_came, a->unfreezer);
	if (err)
		return err;
	err = agent_clean_copy(c->task, c->pid);
	return err ? log_errno(err, "%s: writing to the copy of its memory", task_name(c->task)) : 0;
}

int hidden_copy_make(struct dump *d, struct task *t, const struct hidden_range *gone, size_t n, struct hidden_copy **cp)
{
	struct hidden_copy *c = arena_new_of(d->arena, struct hidden_copy);
	struct agent *child = agent_spare(d, t);
	struct copy_note note = { .since = first_tick(d) };
	int early = note_copy(d, t, &note), err;
	struct proc_stat st;
	int64_t number;

	if (early < 0)
		return early;
	err = make_child(t, child, &number);
	if (err || number < 0) {
		guardian_drop(d->guardian, early);
		return err ?: (int)number;
	}
	fault_point("a copy is made");
	c->pid = find_child(d, t, &st);
	if (!c->pid)
		return log_errno(-ESRCH, "%s: the copy of its memory is not in /proc", task_name(t));
	c->task = t;
	c->inner = (pid_t)number;
	c->start_time = note.start_time = st.start_time;
	note.pid = c->pid;
	c->undo = note_copy(d, t, &note);
	guardian_drop(d->guardian, early);
	*cp = c;
	err = c->undo < 0 ? c->undo : settle_child(child, c, gone, n);
	fault_point("a copy stands");
	return err;
}

/* ---- its end ---- */

/* Whoever is killed leaves the stop within that call, before anything of its memory goes. */
bool hidden_copy_is_whole(const struct hidden_copy *c)
{
	return !c->ended && ptrace_is_stopped(c->pid);
}

void hidden_copy_kill(struct hidden_copy *c)
{
	if (!c->ended)
		kill(c->pid, SIGKILL);
	c->ended = true;
}

/* Without being waited for: its parent is told when it is. */
static bool await_end(const struct hidden_copy *c)
{
	uint64_t until = clock_now_us() + END_MS * 1000;
	siginfo_t si = { 0 };

	while (clock_now_us() < until) {
		if (waitid(P_PID, (id_t)c->pid, &si, WEXITED | WNOWAIT | WNOHANG | __WALL))
			return false;
		if (si.si_pid)
			return true;
		usleep(100);
	}
	return false;
}

/* Not a process that has got the number of a task which has ended. */
static const struct task *parent_in_tree(struct dump *d, pid_t parent)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (task_id(d->tree.tasks[i]) == parent)
			return proc_start_time(parent) == start_of(d->tree.tasks[i]) ? d->tree.tasks[i] : NULL;
	return NULL;
}

/*
 * If its task has ended, another process of the tree may have become its parent, which may end in turn; one outside of
 * the tree does as with any orphan.
 */
static void have_it_waited_for(struct dump *d, const struct hidden_copy *c)
{
	const struct task *t = c->task;
	int err = -ESRCH;

	for (int i = 0; err && t && i < PARENTS_MAX; i++) {
		t = parent_in_tree(d, proc_ppid(c->pid));
		err = t ? agent_reap(task_id(t), c->inner, c->pid, 0, 0) : 0;
	}
	if (err)
		log_warn("%s: the copy of its memory (pid %d) has ended, and stays a zombie until %s ends, which could "
		         "not be made to wait for it: %s",
		         task_name(c->task), c->pid, t ? task_name(t) : "its parent", strerror(-err));
	while (ptrace_wait(c->pid, 0, &(int) { 0 }) == 0)
		;
}

void hidden_copy_end(struct dump *d, struct hidden_copy *c)
{
	if (c->undo < 0)
		return;
	hidden_copy_kill(c);
	if (await_end(c))
		have_it_waited_for(d, c);
	guardian_drop(d->guardian, c->undo);
	c->undo = -1;
}
