/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pid namespaces (pid_namespaces(7)). One is not made and entered as others are: it begins with its first process, the
 * init, and each process is born in it (restore/build.c). Images have the numbers of inside.
 */
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "lib/log.h"
#include "proc/ns_type.h"
#include "proc/pid_ns.h"
#include "proc/proc.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"

extern const struct ns_kind pid_ns_kind;
extern const struct subsys pid_ns_subsys;

/* ---- dump ---- */

/* 0: the process is gone. */
static uint64_t ns_inode_of(pid_t pid)
{
	_cleanup_close_ int proc = proc_open(pid);
	uint64_t ino;

	return proc < 0 || ns_type_inode(proc, "pid", &ino) ? 0 : ino;
}

static const struct task *task_in(const struct task *const *tasks, size_t n, uint32_t id)
{
	for (size_t i = 0; i < n; i++)
		if (tasks[i]->ids && tasks[i]->ids->pid_ns_id == id)
			return tasks[i];
	return NULL;
}

/* A namespace is made by its init, and gone with that. */
static void refuse_children_elsewhere(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		uint32_t id = t->ids && t->ids->has_pid_ns_for_children_id ? t->ids->pid_ns_for_children_id : 0;

		if (id && !task_in((const struct task *const *)d->tree.tasks, d->tree.n_tasks, id))
			log_refusal(
			    -ENOTSUP,
			    "%s: its new children would be in a pid namespace that no task of the tree lives in "
			    "(the first process of that has ended, or is outside): not supported",
			    task_name(t));
	}
}

/* A session of a leader outside of the namespace, which only the root may have (--shell-job). */
static void refuse_outer_sessions(struct dump *d)
{
	const struct task *root = d->tree.tasks[0];

	for (size_t i = 1; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		/* A zombie is born before the root makes its session, and does nothing in there. */
		if (t->state != TASK_DEAD && !t->vsid.v && root->vsid.v)
			log_refusal(-ENOTSUP,
			            "%s: its session is led by a process outside of its pid namespace, and that of the "
			            "namespace's first process (pid %d) is not: it has entered the namespace from "
			            "outside; end it before the dump",
			            task_name(t), task_id(root));
	}
}

static bool is_trees(const struct dump *d, uint64_t ino, uint64_t criu)
{
	const struct ns_ids *ids = ns_ids_all((struct dump *)d);

	for (size_t i = 0; ino != criu && i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWPID && ids->all[i].ino == ino)
			return true;
	return false;
}

/* Whether a namespace lies below one of the tree's; the descriptor is closed. */
static bool is_below(const struct dump *d, int fd, uint64_t criu)
{
	bool below = false;

	while (fd >= 0 && !below) {
		int parent = ioctl(fd, NS_GET_PARENT);
		struct stat st;

		below = !fstat(fd, &st) && is_trees(d, st.st_ino, criu);
		close(fd);
		fd = parent;
	}
	if (fd >= 0)
		close(fd);
	return below;
}

/* The kernel kills all that is in a namespace with the namespace's init. */
static void look_at_stranger(struct dump *d, pid_t pid, uint64_t criu)
{
	uint64_t ino = ns_inode_of(pid);
	struct proc_stat st;
	char comm[16] = "?";

	if (!ino || ino == criu || tree_find_ours(&d->tree, pid) ||
	    (!is_trees(d, ino, criu) && !is_below(d, pid_ns_open(pid), criu)))
		return;
	if (proc_stat_of(pid, &st) || st.state == 'Z' || st.state == 'X')
		return;
	proc_comm(pid, comm, sizeof(comm));
	if (dump_kills_tree(d))
		log_refusal(
		    -EBUSY,
		    "pid %d (%s): is in the tree's pid namespace, and its parent, pid %d, is not (it has entered "
		    "by nsenter or the like): it is not in the checkpoint, and would be killed with the "
		    "namespace; end it, or dump with --leave-running",
		    pid, comm, proc_ppid(pid));
	else
		log_warn(
		    "pid %d (%s): is in the tree's pid namespace, and its parent, pid %d, is not (it has entered by "
		    "nsenter or the like): it is not in the checkpoint",
		    pid, comm, proc_ppid(pid));
}

static int find_strangers(struct dump *d, uint64_t criu)
{
	int *pids = NULL, err;
	size_t n = 0;

	err = proc_list_numbers(AT_FDCWD, "/proc", d->arena, &pids, &n);
	if (err)
		return log_errno(err, "reading /proc");
	for (size_t i = 0; i < n; i++)
		look_at_stranger(d, pids[i], criu);
	return 0;
}

static int pid_ns_collect(struct dump *d)
{
	const struct task *root = d->tree.tasks[0];
	uint64_t criu = ns_inode_of(getpid()), own = ns_inode_of(task_id(root));

	if (!criu || !own)
		return log_errno(-ESRCH, "%s: stat of its ns/pid", task_name(root));
	refuse_children_elsewhere(d);
	if (own == criu && task_id(root) == 1 && dump_kills_tree(d))
		log_refusal(-EBUSY,
		            "%s: is the first process of the pid namespace that criu is in, and only a process "
		            "outside of that can end it: run criu outside (without nsenter -p), or dump with "
		            "--leave-running",
		            task_name(root));
	if (ns_given_key(d->opts, ns_type_of_flag(CLONE_NEWPID), own))
		return root->vpid.v != 1 ? 0
		                         : log_refusal(-ENOTSUP,
		                                       "%s: is the first process of a pid namespace that is to be "
		                                       "external: no other namespace can take it in",
		                                       task_name(root));
	if (own == criu && !d->tree.numbers)
		return 0;
	if (own != criu && root->vpid.v != 1)
		return log_refusal(-ENOTSUP,
		                   "%s: is number %d in a pid namespace that is not criu's: dump from the first "
		                   "process of that namespace on, or run criu in it (nsenter)",
		                   task_name(root), root->vpid.v);
	refuse_outer_sessions(d);
	return find_strangers(d, criu);
}

/* ---- restore ---- */

static int pid_ns_check(struct restore *r)
{
	const struct ns_type *type = ns_type_of_flag(CLONE_NEWPID);
	const struct task *root = r->tree.tasks[0];

	if (ns_ids_own(r, root, type) && root->vpid.v != 1)
		return log_refusal(
		    -EINVAL,
		    "ids-%d.img: pid %d is the root of a tree in a pid namespace of its own, in which the "
		    "first process is number 1",
		    root->vpid.v, root->vpid.v);
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];
		uint32_t id = t->ids ? t->ids->pid_ns_for_children_id : 0;

		if (id && !task_in((const struct task *const *)r->tree.tasks, r->tree.n_tasks, id))
			return log_refusal(-EINVAL, "ids-%d.img: children in pid namespace %u, in which no task is",
			                   t->vpid.v, id);
	}
	return 0;
}

/* When nothing more is created for a task: what setns(2) and unshare(2) change is where its children are born. */
static int set_children_ns(struct restore *r, struct task *t)
{
	uint32_t id = t->ids->pid_ns_for_children_id;
	const struct task *in = task_in((const struct task *const *)r->tree.tasks, r->tree.n_tasks, id);
	_cleanup_close_ int fd = -1;
	struct batch *b;
	int number, err;

	if (!id) {
		b = agent_batch(t->restore->agent, "a pid namespace for its children");
		batch_call(b, SYS_unshare, CLONE_NEWPID);
		return batch_run(b);
	}
	fd = pid_ns_open(in->pid);
	if (fd < 0)
		return log_errno(fd, "%s: open of its ns/pid", task_name(in));
	err = agent_send_fds(t, &fd, 1, &number);
	if (err)
		return err;
	b = agent_batch(t->restore->agent, "the pid namespace of its children");
	batch_call(b, SYS_setns, (uint64_t)number, CLONE_NEWPID);
	batch_call(b, SYS_close, (uint64_t)number);
	return batch_run(b);
}

static int pid_ns_settle(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		if (t->state != TASK_DEAD && t->ids->has_pid_ns_for_children_id)
			err = set_children_ns(r, t);
	}
	return err;
}

const struct ns_kind pid_ns_kind = { .flag = CLONE_NEWPID, .by_birth = true };

const struct subsys pid_ns_subsys = {
	.name = "pid namespace",
	.collect = pid_ns_collect,
	.check = pid_ns_check,
	.settle = pid_ns_settle,
};
