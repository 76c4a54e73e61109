/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Freezing a tree in rounds. A process is closed when all its threads stand in ptrace stops and a listing of them has
 * shown no new one: then it cannot make threads or children any more, and its children are looked up. When all are
 * closed, the children are looked up once more: tasks that were not stopped yet may have left theirs to a subreaper.
 */
#include <sched.h>
#include <string.h>
#include <time.h>

#include "freeze/freezer.h"
#include "freeze/ptrace.h"
#include "lib/log.h"
#include "proc/pid_ns.h"
#include "proc/proc.h"
#include "tree/dump.h"
#include "tree/pid_numbers.h"

#define TIMEOUT_DEFAULT 10 /* s; as in CRIU */

/* So often /proc must say in a row that a process is gone. */
#define GONE_TRIES      4

static int add_proc(struct freezer *f, pid_t pid, struct proc *parent)
{
	struct proc *p;

	HASH_FIND_INT(f->by_pid, &pid, p);
	if (p && !p->gone)
		return 0;
	if (pid == getpid())
		return log_errno(-EDEADLK, "pid %d is criu itself; it cannot be below the tree that it freezes", pid);
	if (p)
		HASH_DEL(f->by_pid, p); /* the pid was used again */
	p = arena_new_of(f->arena, struct proc);
	p->pid = pid;
	p->parent = parent;
	HASH_ADD_IN(f->arena, hh, f->by_pid, pid, sizeof(p->pid), p);
	arena_push(f->arena, &f->procs, &f->n_procs, p);
	return 0;
}

/* ---- one process ---- */

static struct seized *leader_of(const struct proc *p)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i]->tid == p->pid)
			return p->threads[i];
	return NULL;
}

/* A thread that stands still while the leader has ended. 0: there is none. */
static pid_t find_living(const struct proc *p)
{
	for (size_t i = 0; i < p->n_threads; i++)
		if (p->threads[i]->state == SEIZED_STOPPED)
			return p->threads[i]->tid;
	return 0;
}

/* While the cgroup is frozen, SEIZE of a task under job control stop would wait for its thaw: it comes later. */
static bool must_wait(const struct freezer *f, const struct proc *p, int fd, pid_t tid)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	if (!f->frozen)
		return false;
	snprintf(path, sizeof(path), "task/%d/wchan", tid);
	return proc_read(fd, path, &text, NULL) || strstr(text, "signal_stop") || !strcmp(text, "0");
}

/*
 * Opens /proc/PID and reads the state of its leader. -ESRCH when there is nothing any more: while a thread takes over
 * the leader's id, /proc may show the old one on its way out (no threads), or nothing, once.
 */
static int look_at_process(pid_t pid, int *fdp, struct proc_stat *st)
{
	int err = -ESRCH;

	for (int gone = 0; gone < GONE_TRIES;) {
		_cleanup_close_ int fd = proc_open(pid);

		err = fd < 0 ? fd : proc_read_stat(fd, pid, st);
		if (!err && st->state != 'X' && st->num_threads > 0) {
			*fdp = fd;
			fd = -1;
			return 0;
		}
		if (err && err != -ENOENT && err != -ESRCH)
			return err;
		gone += err != 0;
		sched_yield();
	}
	return -ESRCH;
}

static int seize_new(struct freezer *f, struct proc *p, int fd, bool leader_dead, size_t *fresh)
{
	pid_t *tids = NULL;
	size_t n = 0;
	int err = proc_read_threads(fd, f->arena, &tids, &n);

	if (err)
		return err == -ENOENT || err == -ESRCH
		           ? 0
		           : log_errno(err, "pid %d (%s): listing its threads", p->pid, p->comm);
	for (size_t i = 0; !err && i < n; i++) {
		bool one = false;

		if ((leader_dead && tids[i] == p->pid) || must_wait(f, p, fd, tids[i]))
			continue;
		err = seize_thread(f, p, tids[i], &one);
		*fresh += one;
	}
	return err;
}

static int find_children(struct freezer *f, struct proc *p, int fd, bool again)
{
	for (size_t i = 0; i < p->n_threads; i++) {
		struct seized *s = p->threads[i];
		pid_t *children = NULL;
		size_t n = 0;
		int err;

		if (s->state == SEIZED_GONE || (again && !s->had_children && s->tid != p->pid))
			continue;
		err = proc_read_children(fd, s->tid, f->arena, &children, &n);
		if (err == -ENOENT && s->state == SEIZED_STOPPED)
			return log_errno(
			    err,
			    "pid %d (%s): listing its children; the kernel lacks CONFIG_PROC_CHILDREN, or it "
			    "was killed",
			    p->pid, p->comm);
		if (err && err != -ENOENT && err != -ESRCH)
			return log_errno(err, "pid %d (%s): listing the children of thread %d", p->pid, p->comm,
			                 s->tid);
		s->had_children |= n > 0;
		for (size_t k = 0; k < n; k++) {
			err = add_proc(f, children[k], p);
			if (err)
				return err;
		}
	}
	return 0;
}

/*
 * One that is traced by us is its parent's zombie only when we have waited for it. It may be without our knowing: a
 * thread that we had seized has called execve(), taken over the leader's id, and exited.
 */
static bool is_plain_zombie(const struct proc *p, int64_t num_threads)
{
	struct seized *leader = leader_of(p);
	int status, err = ptrace_wait(p->pid, 0, &status);

	if (leader && err != -ETIMEDOUT)
		leader->state = SEIZED_GONE;
	return err == -ECHILD && num_threads <= 1;
}

/* All threads that there are stand still, or there are none. */
static int close_proc(struct freezer *f, struct proc *p, int fd, const struct proc_stat *st)
{
	const struct seized *leader = leader_of(p);
	bool news = false;
	int err = seize_check(f, p, st->state == 'Z', &news);

	if (err || news)
		return err;
	if (st->state != 'Z') {
		if (!leader || leader->state != SEIZED_STOPPED)
			return 0; /* the next round sees what has become of it */
		p->closed = true;
		return find_children(f, p, fd, false);
	}
	p->living = find_living(p);
	if (p->living) {
		p->closed = true;
		return find_children(f, p, fd, false);
	}
	p->zombie = p->closed = is_plain_zombie(p, st->num_threads);
	return 0;
}

/* The cgroups of a task are thawed before it is seized: one of version 1 would not let it come to its stop. */
static int look_at_cgroups(struct freezer *f, struct proc *p, int fd)
{
	if (f->frozen || p->looked)
		return 0;
	p->looked = true;
	return freeze_thaw_process(&f->unfreezer, p->pid, fd, &f->cgroups_seen);
}

/* What the caller has to do to a process that runs may take its time. */
static int give_notice(struct freezer *f, struct proc *p)
{
	int64_t start = clock_now_ms();
	int err;

	if (!f->notice || p->noticed)
		return 0;
	p->noticed = true;
	err = f->notice->before_seize(f->notice->arg, p->pid);
	f->deadline += clock_now_ms() - start;
	return err;
}

/* One look at a process; *fresh counts threads that were seized by it. */
static int scan_proc(struct freezer *f, struct proc *p, size_t *fresh)
{
	_cleanup_close_ int fd = -1;
	struct proc_stat st;
	size_t mine = 0;
	int err = look_at_process(p->pid, &fd, &st);

	if (err == -ESRCH) {
		p->gone = true;
		return p->parent ? 0 : log_errno(err, "pid %d: it has ended", p->pid);
	}
	if (err)
		return log_errno(err, "pid %d: reading its state", p->pid);
	p->stat = st;
	memcpy(p->comm, st.comm, sizeof(p->comm));
	err = st.state == 'Z' ? 0 : give_notice(f, p);
	if (!err)
		err = look_at_cgroups(f, p, fd);
	if (err < 0)
		return err;
	err = seize_new(f, p, fd, st.state == 'Z', &mine);
	*fresh += mine;
	if (err)
		return err;
	if (f->frozen)
		return find_children(f, p, fd, false);
	return mine ? 0 : close_proc(f, p, fd, &st);
}

/* ---- rounds ---- */

static bool open_still(const struct proc *p)
{
	return !p->gone && !p->closed;
}

/* Goes through the processes that are not closed, also those found on the way. *open counts what still is not closed.
 */
static int round_once(struct freezer *f, size_t *open)
{
	static const struct timespec pause = { .tv_nsec = 200000 };
	size_t fresh = 0, closed = 0;
	int err = 0;

	for (size_t i = 0; !err && i < f->n_procs; i++)
		if (open_still(f->procs[i])) {
			err = scan_proc(f, f->procs[i], &fresh);
			closed += !open_still(f->procs[i]);
		}
	if (err || f->frozen)
		return err;
	err = seize_wait(f);
	*open = 0;
	for (size_t i = 0; i < f->n_procs; i++)
		*open += open_still(f->procs[i]);
	/* Something is on its way out. */
	if (*open && !fresh && !closed)
		nanosleep(&pause, NULL);
	return err;
}

static int look_again(struct freezer *f, bool *more)
{
	size_t before = f->n_procs;
	int err = 0;

	for (size_t i = 0; !err && i < before; i++) {
		struct proc *p = f->procs[i];
		_cleanup_close_ int fd = p->zombie || p->gone ? -1 : proc_open(p->pid);

		if (fd >= 0)
			err = find_children(f, p, fd, true);
	}
	*more = f->n_procs > before;
	return err;
}

static int all_rounds(struct freezer *f)
{
	bool more = true;
	int err = 0;

	while (!err && more) {
		size_t open = 1;

		while (!err && open) {
			err = round_once(f, &open);
			if (!err && open && clock_now_ms() >= f->deadline)
				return log_errno(-ETIMEDOUT,
				                 "the tree makes new tasks faster than they are stopped, for %u s "
				                 "(--timeout); try --freeze-cgroup",
				                 f->timeout);
		}
		if (!err)
			err = look_again(f, &more);
	}
	return err;
}

/* With the cgroup frozen nothing can appear: everything is seized in one pass, and stops when it is thawed. */
static int seize_frozen(struct freezer *f, struct frozen *z)
{
	size_t open;
	int err;

	f->frozen = true;
	err = round_once(f, &open);
	f->frozen = false;
	return err ?: freeze_cgroup_thaw(z, f->deadline);
}

static int check_root(pid_t root)
{
	_cleanup_close_ int fd = -1;
	struct proc_status status = { 0 };
	struct proc_stat st;
	int err = look_at_process(root, &fd, &st);

	for (int tries = 0; !err && !status.tgid && tries < GONE_TRIES; tries++)
		proc_read_status(fd, 0, NULL, &status);
	if (!err && !status.tgid)
		err = -ESRCH;
	if (err)
		return log_errno(err, "pid %d", root);
	if (status.tgid != root)
		return log_errno(-EINVAL, "pid %d (%s) is a thread of process %d; give that", root, st.comm,
		                 status.tgid);
	if (st.state == 'Z' && st.num_threads <= 1)
		return log_errno(-ESRCH, "pid %d (%s) has exited already; its parent has not waited for it", root,
		                 st.comm);
	return 0;
}

/* ---- the result ---- */

/* In a namespace below the root's: its number in the root's, and those in all from there on. */
static vpid_t take_levels(struct freezer *f, struct tree *tree, const struct pid_levels *l)
{
	vpid_t v = VPID(l->n >= f->levels ? l->at[f->levels - 1] : 0);
	size_t n = f->levels;

	while (v.v && n < l->n && l->at[n])
		n++;
	pid_numbers_add(tree, f->arena, v, l->at + f->levels, n - f->levels);
	return v;
}

static int set_nested_ids(struct freezer *f, struct tree *tree, struct task *t, int fd)
{
	struct pid_levels pid, pgid, sid;
	int err = 0;

	for (size_t i = t->n_threads; !err && i-- > 0;) {
		err = pid_ns_levels(fd, t->threads[i].tid, &pid, &pgid, &sid);
		if (!err)
			t->threads[i].vtid = take_levels(f, tree, &pid);
	}
	if (!err)
		err = pid_ns_levels(fd, 0, &pid, &pgid, &sid);
	if (err)
		return log_errno(err, "%s: reading its ids in nested pid namespaces; was it killed?", task_name(t));
	t->vpid = take_levels(f, tree, &pid);
	t->vpgid = take_levels(f, tree, &pgid);
	t->vsid = take_levels(f, tree, &sid);
	return 0;
}

static int set_task_ids(struct freezer *f, struct tree *tree, struct proc *p, struct task *t)
{
	_cleanup_close_ int fd = proc_open(p->pid);
	struct proc_status *leader = arena_new_of(f->arena, struct proc_status), status;
	int err = fd < 0 ? fd : proc_read_status(fd, 0, f->arena, leader);

	status = *leader;
	if (!err && (!status.ns_pid.levels || !status.ns_pgid.levels || !status.ns_sid.levels))
		return log_errno(-ENOTSUP, "pid %d (%s): the kernel does not show pids of namespaces (NSpid)", p->pid,
		                 p->comm);
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];
		struct proc_status one = status;

		/* Where it has our namespace, its threads have too. */
		if (th->tid != p->pid && status.ns_pid.levels > 1)
			err = proc_read_status(fd, th->tid, NULL, &one);
		th->vtid = VPID(status.ns_pid.levels == 1 ? th->tid : one.ns_pid.inner);
	}
	if (err)
		return log_errno(err, "pid %d (%s): reading its ids; was it killed?", p->pid, p->comm);
	if (!t->dead_leader) {
		t->threads[0].dump = arena_new_of(f->arena, struct dump_thread);
		t->threads[0].dump->status = leader;
	}
	if (!f->levels)
		f->levels = status.ns_pid.levels;
	if (status.ns_pid.levels > f->levels)
		return set_nested_ids(f, tree, t, fd);
	t->vpid = VPID(status.ns_pid.inner);
	t->vpgid = VPID(status.ns_pgid.inner);
	t->vsid = VPID(status.ns_sid.inner);
	return 0;
}

static void set_threads(struct freezer *f, struct proc *p, struct task *t)
{
	size_t next = 1;

	t->threads = arena_array(f->arena, struct thread, p->n_threads + 1);
	t->threads[0] = (struct thread) { .task = t, .tid = t->pid };
	for (size_t i = 0; i < p->n_threads; i++) {
		const struct seized *s = p->threads[i];

		if (s->state != SEIZED_STOPPED)
			continue;
		if (s->tid != t->pid)
			t->threads[next++] = (struct thread) { .task = t, .tid = s->tid };
		if (s->stop_signo) {
			t->state = TASK_STOPPED;
			t->stop_signo = s->stop_signo;
		}
	}
	t->n_threads = next;
}

/* Of a leader that has ended little is left: what its memory has, a thread that lives tells. */
static int stand_in_stat(struct proc *p)
{
	struct proc_stat own = p->stat;
	int err = proc_stat_of(p->living, &p->stat);

	p->stat.flags = own.flags;
	p->stat.exit_signal = own.exit_signal;
	return err ? log_errno(err, "pid %d (%s): reading /proc/%d/stat", p->pid, p->comm, p->living) : 0;
}

static int make_task(struct freezer *f, struct tree *tree, struct proc *p, struct task **taskp)
{
	struct task *t = arena_new_of(f->arena, struct task);

	t->pid = p->living ?: p->pid;
	t->dead_leader = p->living ? p->pid : 0;
	t->dump = arena_new_of(f->arena, struct dump_task);
	t->dump->pidfd = t->dump->proc_fd = -1;
	t->dump->stat = &p->stat;
	memcpy(t->comm, p->comm, sizeof(t->comm));
	t->state = p->zombie ? TASK_DEAD : TASK_ALIVE;
	set_threads(f, p, t);
	*taskp = t;
	return (p->living ? stand_in_stat(p) : 0) ?: set_task_ids(f, tree, p, t);
}

static int make_tree(struct freezer *f, struct tree *tree)
{
	struct task **of = arena_array(f->arena, struct task *, f->n_procs);
	int err = 0;

	for (size_t i = 0; !err && i < f->n_procs; i++) {
		struct proc *p = f->procs[i];

		if (p->gone)
			continue;
		err = make_task(f, tree, p, &of[i]);
		p->place = i;
		if (!err && p->parent && p->parent->gone)
			err = log_errno(-ESRCH, "pid %d (%s) was killed while the tree was stopped", p->parent->pid,
			                p->parent->comm);
		if (!err && p->parent) {
			of[i]->parent = of[p->parent->place];
			arena_push(f->arena, &of[i]->parent->children, &of[i]->parent->n_children, of[i]);
		}
		arena_push(f->arena, &tree->tasks, &tree->n_tasks, of[i]);
	}
	if (!err)
		tree_index(tree, f->arena);
	return err;
}

int freeze_tree(const struct options *o, struct guardian *g, struct arena *a, pid_t root, struct tree *tree)
{
	return freeze_tree_noticed(o, g, a, root, tree, NULL);
}

int freeze_tree_noticed(const struct options *o, struct guardian *g, struct arena *a, pid_t root, struct tree *tree,
                        const struct freeze_notice *notice)
{
	struct freezer f = { .arena = a, .self = gettid(), .timeout = o->timeout ?: TIMEOUT_DEFAULT, .notice = notice };
	int err = check_root(root);

	*tree = (struct tree) { 0 };
	f.unfreezer = (struct unfreezer) { .tree = tree, .guardian = g, .arena = a };
	f.unfreezer.kills = !o->leave_running && !o->leave_stopped;
	f.deadline = clock_now_ms() + f.timeout * 1000LL;
	seize_watch(&f);
	if (!err)
		err = add_proc(&f, root, NULL);
	if (!err && o->freeze_cgroup)
		err = freeze_cgroup_start(o->freeze_cgroup, g, a, f.deadline, &tree->frozen);
	if (!err && tree->frozen)
		err = seize_frozen(&f, tree->frozen);
	if (!err)
		err = all_rounds(&f);
	if (!err)
		err = make_tree(&f, tree);
	if (err) {
		freeze_cgroup_restore(tree->frozen, false);
		seize_release(&f);
		freeze_cgroup_settle(tree->frozen, false);
		*tree = (struct tree) { 0 };
	}
	seize_unwatch(&f);
	return err;
}
