/* SPDX-License-Identifier: GPL-2.0-only */
/* From a running tree to messages in memory, and to refusals: everything but what takes long to write. */
#include <fcntl.h>
#include <sys/syscall.h>

#include "arch/arch.h"
#include "arch_core.h"
#include "dump/dump.h"
#include "dump/inside.h"
#include "dump/threads_alike.h"
#include "files/foreign_files.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "lib/fiber.h"
#include "lib/kernel_view.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/kind.h"
#include "tree/kobj_ids.h"
#include "uapi/pidfd_info.h"

#define PF_IO_WORKER 0x10 /* of the kernel, in /proc/PID/stat */

static bool is_alive(const struct task *t)
{
	return t->state != TASK_DEAD;
}

/*
 * A thread of the kernel's in a process with io_uring (iou-wrk, iou-sqp), which never comes to user space: no agent
 * runs in it. It has no registers; the flags are read only then.
 */
static bool is_io_worker(const struct task *t, const struct thread *th)
{
	struct proc_stat st;

	if (arch_regs_ip(th->dump->regs) || proc_read_stat(t->dump->proc_fd, th->tid, &st))
		return false;
	return st.flags & PF_IO_WORKER;
}

/* They are no threads of the task's, and go on with what they were given. */
static void drop_io_workers(struct task *t)
{
	size_t kept = 1;

	for (size_t i = 1; i < t->n_threads; i++) {
		if (is_io_worker(t, &t->threads[i]))
			ptrace_detach(t->threads[i].tid, 0);
		else
			t->threads[kept++] = t->threads[i];
	}
	t->n_threads = kept;
}

static int open_task(struct dump *d, struct task *t, struct kernel_view **view)
{
	char path[32];

	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		if (!th->dump)
			th->dump = arena_new_of(d->arena, struct dump_thread);
		th->core = arena_msg(d->arena, CoreEntry, core_entry);
	}
	t->threads[0].core->tc = arena_msg(d->arena, TaskCoreEntry, task_core_entry);
	t->threads[0].core->tc->task_state = t->state;
	t->threads[0].core->tc->comm = arena_strdup(d->arena, t->comm);
	t->threads[0].core->mtype = ARCH_CORE_MTYPE;
	if (!is_alive(t))
		return task_read_zombie(t->pid, t->threads[0].core->tc);
	snprintf(path, sizeof(path), "/proc/%d", t->pid);
	t->dump->pidfd = (int)syscall(SYS_pidfd_open, t->pid, t->dead_leader ? KERNEL_PIDFD_THREAD : 0);
	t->dump->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dump->pidfd < 0 && t->dead_leader && errno == EINVAL)
		return log_refusal(
		    -ENOTSUP,
		    "%s: its main thread has ended while others live: for its descriptors a kernel is needed "
		    "that has PIDFD_THREAD (Linux 6.9); dump it there, or before its main thread ends",
		    task_name(t));
	if (t->dump->pidfd < 0 || t->dump->proc_fd < 0)
		return log_errno(-errno, "%s: pidfd_open, or open of %s", task_name(t), path);
	threads_look_alike(view, d->arena, t);
	for (size_t i = 0; i < t->n_threads; i++) {
		int err = dump_peek(d, &t->threads[i]);

		if (err)
			return err;
	}
	drop_io_workers(t);
	return 0;
}

static int open_tasks(struct dump *d)
{
	struct kernel_view *view = NULL;
	int err = 0;

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		err = open_task(d, d->tree.tasks[i], &view);
	kernel_view_close(view);
	return err;
}

void dump_close_tasks(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct dump_task *dt = d->tree.tasks[i]->dump;

		if (!dt)
			continue;
		if (dt->pidfd > 0)
			close(dt->pidfd);
		if (dt->proc_fd > 0)
			close(dt->proc_fd);
		dt->pidfd = dt->proc_fd = -1;
	}
}

static int before_seize(void *arg, pid_t pid)
{
	return subsys_run(before_seize, arg, pid);
}

int dump_freeze(struct dump *d)
{
	const struct freeze_notice notice = { .before_seize = before_seize, .arg = d };
	int err = subsys_run(before_freeze, d);
	uint64_t start = clock_now_us();
	size_t threads = 0;

	if (!err)
		err = freeze_tree_noticed(d->opts, d->guardian, d->arena, d->opts->tree, &d->tree, &notice);
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		threads += d->tree.tasks[i]->n_threads;
	log_info("frozen: %zu tasks, %zu threads", d->tree.n_tasks, threads);
	d->stats->freezing_time = clock_now_us() - start;
	d->stats->frozen_time = clock_now_us();
	if (!err)
		err = subsys_run(frozen, d);
	return err ?: open_tasks(d);
}

/* A tree whose session or process group comes from outside can only come back with criu's own. */
static int check_job_of_shell(struct dump *d)
{
	const struct task *root = d->tree.tasks[0];

	if (d->opts->shell_job || (tree_find(&d->tree, root->vsid) == root && tree_find(&d->tree, root->vpgid)))
		return 0;
	return log_refusal(
	    -EINVAL,
	    "%s: its session (leader %d) or process group (%d) is outside of the tree: it is a shell's job; "
	    "give --shell-job (-j), here and at restore, or dump from the session's leader on",
	    task_name(root), root->vsid.v, root->vpgid.v);
}

/* Rows that had to wait until everything was known. */
static int collect_tree(struct dump *d)
{
	int err = subsys_run_all(collect, d), part;

	for (const struct task_part *const *p = task_parts; *p; p++) {
		part = (*p)->all_collected ? (*p)->all_collected(d) : 0;
		err = err ?: part;
	}
	return err;
}

/*
 * What a restore on this machine would refuse for sure. Where the tree lives on, nothing is lost, and the images may be
 * for another machine.
 */
static int foresee_restore(struct dump *d)
{
	int err, part;

	log_refusals_warn(!dump_kills_tree(d));
	err = subsys_run_all(foresee, d);
	for (const struct task_part *const *p = task_parts; *p; p++) {
		part = (*p)->foresee ? (*p)->foresee(d) : 0;
		err = err ?: part;
	}
	if (log_refusals_warn(false))
		log_warn("a restore on this machine by the same user will be refused, see above");
	return dump_kills_tree(d) ? err : 0;
}

/* It may be killed while it is being frozen. */
static int check_root(const struct task *root)
{
	return is_alive(root) ? 0 : log_errno(-ESRCH, "%s: has ended while it was being frozen", task_name(root));
}

/* Whether another one of these has its memory: then each has to see what the other's agent has mapped. */
static bool shares_memory(const struct dump *d, const struct task *t, struct task *const some[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tree_first_vm(&d->tree, some[i]) == tree_first_vm(&d->tree, t))
			return true;
	return false;
}

/* Those from *i on whose agents can be inside at the same time. */
static size_t next_tasks(const struct dump *d, size_t *i, struct task *some[])
{
	size_t n = 0;

	for (; *i < d->tree.n_tasks && n < FIBERS_MAX; ++*i) {
		struct task *t = d->tree.tasks[*i];

		if (!is_alive(t))
			continue;
		if (shares_memory(d, t, some, n))
			break;
		some[n++] = t;
	}
	return n;
}

/* -ECANCELED: the mappings of one are refused. The others are asked for what else speaks against the dump. */
static int collect_tasks(struct dump *d, struct task *some[], size_t n)
{
	size_t looked = 0;
	int err = 0, part;

	for (size_t i = 0; i < n; i++) {
		part = subsys_run(look, d, some[i]);
		if (part && !log_refusals())
			return part;
		if (!part)
			some[looked++] = some[i];
	}
	err = dump_inside(d, some, looked);
	if (err && !log_refusals())
		return err;
	for (size_t i = 0; i < looked; i++) {
		log_debug("%s: descriptors, directories, mappings", task_name(some[i]));
		part = subsys_run_all(dump_task, d, some[i]);
		if (part && !log_refusals())
			return part;
	}
	return looked < n ? -ECANCELED : err;
}

static int say_refusals(int err)
{
	if (!log_refusals())
		return err;
	log_errno(0, "%u reason%s against this dump, see above; nothing was changed", log_refusals(),
	          log_refusals() > 1 ? "s" : "");
	return err ?: -EOPNOTSUPP;
}

/* Reads everything but pages. Refusals are collected; only what makes going on pointless ends it early. */
int dump_collect(struct dump *d)
{
	int err = check_root(d->tree.tasks[0]), part;

	if (err)
		return err;
	if (!foreign_files_mounts(d)) /* first of all: whether images can be written */
		return -EDEADLK;
	err = kobj_ids_dump(d);

	stats_lap(d->stats, "comparing tasks");
	tree_index(&d->tree, d->arena);
	part = check_job_of_shell(d);
	for (size_t i = 0; i < d->tree.n_tasks;) {
		struct task *some[FIBERS_MAX];
		size_t n = next_tasks(d, &i, some);

		part = collect_tasks(d, some, n);
		if (part == -ECANCELED)
			return say_refusals(-EOPNOTSUPP);
		if (part && !log_refusals())
			return part;
	}
	freeze_again(&d->tree);
	stats_lap(d->stats, "asking tasks");
	part = collect_tree(d);
	err = err ?: part;
	part = foresee_restore(d);
	stats_lap(d->stats, "connections, namespaces, and what else tasks share");
	return say_refusals(err ?: part);
}
