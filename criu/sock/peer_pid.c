/* SPDX-License-Identifier: GPL-2.0-only */
#include "sock/peer_pid.h"

#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "helper/helper.h"
#include "lib/arena_hash.h"
#include "proc/pid_ns.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"

struct known_pid {
	pid_t pid;
	vpid_t vpid;
	UT_hash_handle hh;
};

/* What it keeps: the tasks of the tree by pid. */
const struct subsys peer_pid_subsys = { .name = "pids of peers", .state = { .dump = sizeof(struct known_pid *) } };

uint32_t peer_pid_in_tree(struct dump *d, pid_t pid)
{
	struct known_pid **known = dump_state(d, &peer_pid_subsys), *p;

	if (!tree_has_own_pids(&d->tree))
		return (uint32_t)pid;
	for (size_t i = *known ? d->tree.n_tasks : 0; i < d->tree.n_tasks; i++) {
		p = arena_new_of(d->arena, struct known_pid);
		*p = (struct known_pid) { .pid = task_id(d->tree.tasks[i]), .vpid = d->tree.tasks[i]->vpid };
		HASH_ADD_IN(d->arena, hh, *known, pid, sizeof(pid), p);
	}
	HASH_FIND(hh, *known, &pid, sizeof(pid), p);
	return p ? (uint32_t)p->vpid.v : 0;
}

static int ask_inside(int ns, int (*fn)(void *arg), void *arg)
{
	const struct helper_spec spec = { .flags = CLONE_VM | CLONE_FILES | CLONE_FS, .pid_ns = &ns };

	return ns < 0 ? ns : helper_run(&spec, fn, arg);
}

static uint32_t id_of_ns(struct dump *d, int fd)
{
	const struct ns_ids *ids = ns_ids_all(d);
	struct stat st;

	if (!fstat(fd, &st))
		for (size_t i = 0; i < ids->n; i++)
			if (ids->all[i].type->flag == CLONE_NEWPID && ids->all[i].ino == st.st_ino)
				return ids->all[i].id;
	return 0;
}

/* Its numbers in the namespaces from below the root task's down to that of the task which is told of it. */
static void note_inner(struct dump *d, const struct task *t, pid_t vpid, int (*fn)(void *arg), void *arg)
{
	size_t depth = pid_depth(&d->tree, t->vpid), n = 0;
	pid_t inner[PID_DEPTH_MAX];
	int fds[PID_DEPTH_MAX];

	for (size_t i = depth; i-- > 0;)
		fds[i] = i + 1 == depth ? pid_ns_open(t->pid) : ioctl(fds[i + 1], NS_GET_PARENT);
	while (n < depth && (inner[n] = ask_inside(fds[n], fn, arg)) > 0)
		n++;
	if (n)
		pid_numbers_add_gone(&d->tree, d->arena, VPID(vpid), inner, n, id_of_ns(d, fds[n - 1]));
	for (size_t i = 0; i < depth; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int peer_pid_gone(struct dump *d, const struct task *t, pid_t pid, int (*fn)(void *arg), void *arg)
{
	const struct task *task = tree_find_ours(&d->tree, pid);
	bool own = tree_has_own_pids(&d->tree), nested = d->tree.numbers && pid_depth(&d->tree, t->vpid);
	_cleanup_close_ int ns = -1;
	int vpid = pid;

	if (!pid || task)
		return task ? task->vpid.v : 0;
	if (own) {
		ns = pid_ns_open(d->tree.tasks[0]->pid);
		vpid = ask_inside(ns, fn, arg);
	}
	if (vpid > 0 && nested)
		note_inner(d, t, vpid, fn, arg);
	return vpid;
}
