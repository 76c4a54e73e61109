/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Devices of the tree's tasks: paused while it still runs, saved when it stands still, and resumed before it runs on,
 * at the end of a dump that does not end it, after one that has failed, and after a restore.
 *
 * Which tasks were paused stands in memory that the guardian shares: if criu dies, a child of the guardian calls the
 * same hook of the same plugins for them, which were loaded before the guardian was forked.
 */
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "lib/clock.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "plugin/plugin.h"
#include "proc/proc.h"

#define MAX_PAUSED   65536
#define TIMEOUT      10 /* s, where there is no --timeout */
#define RESUME_TIMES 12 /* so many --timeout for all tasks, of a criu that has died */

struct paused {
	uint32_t n;
	struct {
		pid_t pid;
		uint64_t start_time;
	} v[MAX_PAUSED];
};

static struct plugins *plugins_of(struct dump *d)
{
	return dump_state(d, &plugin_subsys);
}

int plugin_devices_begin(struct plugins *ps)
{
	void *p;

	if (!plugin_any_has(ps, CR_PLUGIN_HOOK__PAUSE_DEVICES) &&
	    !plugin_any_has(ps, CR_PLUGIN_HOOK__CHECKPOINT_DEVICES))
		return 0;
	p = mmap(NULL, sizeof(struct paused), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
	         0);
	if (p == MAP_FAILED)
		return log_errno(-errno, "mmap of a list of tasks with paused devices");
	ps->paused = p;
	return 0;
}

/* ---- resuming ---- */

/* Each task, whatever becomes of the others; the first error is returned. */
static int resume_all(struct plugins *ps)
{
	struct paused *list = ps->paused;
	int err = 0;

	for (uint32_t i = 0; i < __atomic_load_n(&list->n, __ATOMIC_ACQUIRE); i++) {
		int part;

		if (proc_start_time(list->v[i].pid) != list->v[i].start_time)
			continue;
		part = plugin_optional(plugin_call(ps, RESUME_DEVICES_LATE, list->v[i].pid));
		if (part)
			log_errno(part, "pid %d: its devices could not be resumed; the plugin has said why",
			          list->v[i].pid);
		err = err ?: part;
	}
	return err;
}

/* A hook that hangs or crashes must not keep the guardian from its work. Called in a child of the guardian. */
__attribute__((noreturn)) static void resume_in_child(struct plugins *ps)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* lint: allow: its own process */
	_exit(resume_all(ps) ? 1 : 0);
}

static int wait_for_child(const struct plugins *ps, pid_t pid)
{
	_cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t end = clock_now_ms() + (ps->opts->timeout ?: TIMEOUT) * RESUME_TIMES * 1000LL;
	int ready = 0, status;

	while (fd >= 0 && (ready = poll(&p, 1, (int)MAX(end - clock_now_ms(), 0))) < 0 && errno == EINTR)
		;
	if (!ready)
		log_errno(-ETIMEDOUT, "resuming devices after criu has died: the plugin does not answer");
	if (ready <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	return ready > 0 && WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}

/* In the guardian, when criu has died: these entries are the oldest of a dump, so the tree runs already. */
static int undo_paused(const struct undo *u)
{
	struct plugins *ps = (struct plugins *)u->addr;
	pid_t pid = fork();

	if (!pid)
		resume_in_child(ps);
	return pid < 0 ? -errno : wait_for_child(ps, pid);
}

static int note_undo(struct dump *d, struct plugins *ps)
{
	const struct undo u = { .type = UNDO_CALL,
		                .call = undo_paused,
		                .fd = -1,
		                .addr = (uintptr_t)ps,
		                .path = "devices of the tree's tasks" };

	ps->undo = guardian_note(d->guardian, &u);
	return ps->undo < 0 ? ps->undo : 0;
}

/* They go on; what was noted is void. */
static int resume_now(struct dump *d)
{
	struct plugins *ps = plugins_of(d);
	int err = 0;

	if (ps->undo < 0)
		return 0;
	err = resume_all(ps);
	fault_point("devices resumed");
	if (err)
		return err;
	__atomic_store_n(&ps->paused->n, 0, __ATOMIC_RELEASE);
	guardian_drop(d->guardian, ps->undo);
	ps->undo = -1;
	return 0;
}

/* ---- pausing ---- */

static bool is_paused(const struct paused *list, pid_t pid, uint64_t start_time)
{
	for (uint32_t i = 0; i < list->n; i++)
		if (list->v[i].pid == pid && list->v[i].start_time == start_time)
			return true;
	return false;
}

/* One that has ended meanwhile needs no pause, whatever the plugin says of it. */
static int pause_task(struct dump *d, struct plugins *ps, pid_t pid)
{
	struct paused *list = ps->paused;
	uint64_t start_time = proc_start_time(pid);
	int err;

	if (!proc_alive(pid) || is_paused(list, pid, start_time))
		return 0;
	if (list->n == MAX_PAUSED)
		return log_errno(-ENOSPC, "the tree has more than %d tasks, whose devices cannot all be paused",
		                 MAX_PAUSED);
	list->v[list->n].pid = pid;
	list->v[list->n].start_time = start_time;
	__atomic_store_n(&list->n, list->n + 1, __ATOMIC_RELEASE);
	err = plugin_optional(plugin_call(ps, PAUSE_DEVICES, pid));
	if (!err)
		fault_point("devices paused");
	if (err && (!proc_alive(pid) || proc_start_time(pid) != start_time))
		return 0;
	return err ? log_errno(err, "pid %d: its devices could not be paused for the dump", pid) : 0;
}

int plugin_devices_before_freeze(struct dump *d)
{
	struct plugins *ps = plugins_of(d);
	pid_t *pids = NULL;
	size_t n = 0;
	int err;

	if (!ps->paused)
		return 0;
	err = note_undo(d, ps);
	arena_push(d->arena, &pids, &n, d->opts->tree);
	for (size_t i = 0; !err && i < n; i++) {
		proc_add_children(d->arena, pids[i], &pids, &n);
		err = pause_task(d, ps, pids[i]);
	}
	return err;
}

int plugin_devices_before_seize(struct dump *d, pid_t pid)
{
	struct plugins *ps = plugins_of(d);

	return ps->paused ? pause_task(d, ps, pid) : 0;
}

/* ---- saving ---- */

/* A hook may let a thread run; a thread that it has made is not frozen. */
static int check_threads(struct dump *d, const struct task *t)
{
	_cleanup_close_ int fd = proc_open(t->pid);
	pid_t *tids = NULL;
	size_t n = 0, io = 0;
	int err = fd < 0 ? fd : proc_read_threads(fd, d->arena, &tids, &n);

	if (err)
		return log_errno(err, "%s: listing its threads", task_name(t));
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;

		while (k < t->n_threads && t->threads[k].tid != tids[i])
			k++;
		io += k == t->n_threads;
	}
	return io ? log_errno(-EAGAIN, "%s: has new threads since its devices were saved; dump it again", task_name(t))
	          : 0;
}

int plugin_devices_frozen(struct dump *d)
{
	struct plugins *ps = plugins_of(d);
	bool saved = false;
	int err = 0;

	for (size_t i = 0; ps->paused && !err && i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		int ret = t->state == TASK_DEAD ? -ENOTSUP : plugin_call(ps, CHECKPOINT_DEVICES, task_id(t));

		err = plugin_optional(ret);
		if (err)
			log_errno(err, "%s: its devices could not be saved", task_name(t));
		saved |= ret >= 0;
	}
	if (saved)
		fault_point("devices saved");
	for (size_t i = 0; saved && !err && i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD && !d->tree.tasks[i]->dead_leader)
			err = check_threads(d, d->tree.tasks[i]);
	return err;
}

int plugin_devices_before_commit(struct dump *d)
{
	return dump_kills_tree(d) ? 0 : resume_now(d);
}

void plugin_devices_rollback(struct dump *d)
{
	struct plugins *ps = plugins_of(d);

	if (!ps->paused)
		return;
	resume_now(d);
	/* What has failed here fails in the guardian's place, too, where criu itself would carry it out. */
	if (ps->undo >= 0)
		guardian_drop(d->guardian, ps->undo);
	ps->undo = -1;
}

/* ---- restore ---- */

int plugin_devices_restored(struct restore *r)
{
	struct plugins *ps = restore_state(r, &plugin_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < r->tree.n_tasks; i++) {
		const struct task *t = r->tree.tasks[i];

		if (t->state == TASK_DEAD)
			continue;
		err = plugin_optional(plugin_call(ps, RESUME_DEVICES_LATE, t->pid));
		if (err)
			log_errno(err, "%s: its devices could not be resumed", task_name(t));
	}
	return err;
}
