/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * At dump: what a restore on this machine would refuse of the tree as such. The tree of a dump is looked at as if it
 * had been read from images; nothing is started.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "restore/plan.h"
#include "tree/subsys.h"

/* ---- numbers that others will still have when the tree is gone ---- */

/* The number of a session or process group whose leader is not in the tree: a restore needs it for a helper. */
struct wanted {
	pid_t id;
	const struct task *task; /* a member */
	bool session;
	pid_t holder; /* outside of the tree; 0: no process */
};

static int compare_wanted(const void *a, const void *b)
{
	pid_t x = ((const struct wanted *)a)->id, y = ((const struct wanted *)b)->id;

	return x < y ? -1 : x > y;
}

/* With --shell-job the root's own come from criu's caller at restore. */
static bool is_callers(const struct dump *d, vpid_t id)
{
	const struct task *root = d->tree.tasks[0];

	return d->opts->shell_job && (id.v == root->vsid.v || id.v == root->vpgid.v);
}

static size_t note_wanted(struct dump *d, struct wanted *all, size_t n, const struct task *t, bool session)
{
	vpid_t id = session ? t->vsid : t->vpgid;

	if (id.v <= 0 || tree_find(&d->tree, id) || is_callers(d, id) || (n && all[n - 1].id == id.v))
		return n;
	all[n] = (struct wanted) { .id = id.v, .task = t, .session = session };
	return n + 1;
}

/* Sorted, each once. */
static size_t list_wanted(struct dump *d, struct wanted *all)
{
	size_t n = 0, kept = 0;

	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		n = note_wanted(d, all, n, d->tree.tasks[i], true);
		n = note_wanted(d, all, n, d->tree.tasks[i], false);
	}
	qsort(all, n, sizeof(*all), compare_wanted);
	for (size_t i = 0; i < n; i++)
		if (!i || all[i].id != all[kept - 1].id)
			all[kept++] = all[i];
	return kept;
}

static void note_holder(struct wanted *all, size_t n, pid_t id, pid_t holder)
{
	struct wanted key = { .id = id }, *w = bsearch(&key, all, n, sizeof(*all), compare_wanted);

	/* Best known by its leader. */
	if (w && (!w->holder || holder == id))
		w->holder = holder;
}

/* A zombie may be gone by then. */
static int find_holders(struct dump *d, struct wanted *all, size_t n)
{
	int *pids = NULL, err;
	size_t n_pids = 0;

	err = proc_list_numbers(AT_FDCWD, "/proc", d->arena, &pids, &n_pids);
	if (err)
		return log_errno(err, "listing /proc");
	for (size_t i = 0; i < n_pids; i++) {
		struct proc_stat st;

		if (tree_find(&d->tree, VPID(pids[i])) || proc_stat_of(pids[i], &st) || st.state == 'Z' ||
		    st.state == 'X')
			continue;
		note_holder(all, n, pids[i], pids[i]);
		note_holder(all, n, st.pgrp, pids[i]);
		note_holder(all, n, st.session, pids[i]);
	}
	return 0;
}

static int refuse_held(const struct dump *d, const struct wanted *w)
{
	const char *what = w->session ? "session" : "process group";
	char comm[32] = "?";

	proc_comm(w->holder, comm, sizeof(comm));
	if (w->holder == w->id)
		return log_refusal(-EEXIST,
		                   "%s: the leader of its %s, pid %d (%s), is outside of the tree, so that a restore "
		                   "cannot have that number: dump from that process on (-t %d), or keep the tree "
		                   "(--leave-running) and restore in a pid namespace (unshare -pf --mount-proc)",
		                   task_name(w->task), what, w->id, comm, w->id);
	return log_refusal(-EEXIST,
	                   "%s: in its %s %d, whose leader is gone, is pid %d (%s) outside of the tree, so that a "
	                   "restore cannot have that number: end that, or dump from a common parent on, or keep the "
	                   "tree (--leave-running) and restore in a pid namespace (unshare -pf --mount-proc)",
	                   task_name(w->task), what, w->id, w->holder, comm);
}

static int foresee_numbers(struct dump *d)
{
	struct wanted *all = arena_array(d->arena, struct wanted, 2 * d->tree.n_tasks);
	size_t n = list_wanted(d, all);
	int err = 0, part;

	/* Of a tree in another pid namespace the numbers are that one's. */
	if (!n || d->tree.tasks[0]->pid != d->tree.tasks[0]->vpid.v)
		return 0;
	err = find_holders(d, all, n);
	for (size_t i = 0; i < n; i++) {
		part = all[i].holder ? refuse_held(d, &all[i]) : 0;
		err = err ?: part;
	}
	return err;
}

/* ---- sessions, shared memory and tables ---- */

static int foresee_plan(struct dump *d)
{
	struct restore r = { .opts = d->opts, .arena = d->arena, .tree = d->tree };
	int err;

	/* Without ids something else has failed, and has been said. */
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD && !d->tree.tasks[i]->ids)
			return 0;
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		d->tree.tasks[i]->restore = arena_new_of(d->arena, struct restore_task);
	err = plan_foresee(&r);
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		d->tree.tasks[i]->restore = NULL;
	return err;
}

static int foresee_tree(struct dump *d)
{
	int err = foresee_numbers(d), part = foresee_plan(d);

	return err ?: part;
}

extern const struct subsys foresee_subsys;

const struct subsys foresee_subsys = { .name = "a restore's plan, at dump", .foresee = foresee_tree };
