/* SPDX-License-Identifier: GPL-2.0-only */
/* criu restore: everything is read and checked, then built, then let go at once. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "agent/liveness.h"
#include "arch/arch.h"
#include "restore/build.h"
#include "cmd/cmd.h"
#include "restore/pids.h"
#include "options/inherited.h"
#include "files/files.h"
#include "options/stages.h"
#include "tree/kind.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/deadlock_watch.h"
#include "tree/tree_image.h"
#include "mm/mm.h"
#include "sock/tcp/tcp.h"

/* ---- reading and checking: nothing is started here ---- */

static bool lives(const struct task *t)
{
	return t->state != TASK_DEAD;
}

static void hang_restore_parts(struct restore *r)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		t->restore = arena_new_of(r->arena, struct restore_task);
		t->restore->sock = t->restore->task_sock = -1;
		for (size_t k = 0; k < t->n_threads; k++)
			t->threads[k].restore = arena_new_of(r->arena, struct restore_thread);
	}
}

static int check_thread(struct restore *r, const struct thread *th)
{
	int err = arch_regs_check_core(th->core, task_thread_name(th));

	for (const struct task_part *const *p = task_parts; *p; p++) {
		if ((*p)->check && (th == th->task->threads || (*p)->per_thread)) {
			int part = (*p)->check(r, th);

			err = err ?: part;
		}
	}
	return err;
}

static int check_tasks(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];
		int part = 0;

		for (size_t k = 0; lives(t) && k < t->n_threads; k++) {
			part = check_thread(r, &t->threads[k]);
			err = err ?: part;
		}
		if (lives(t) && tree_first_vm(&r->tree, t) == t)
			part = mm_check(r, t);
		err = err ?: part;
	}
	return err;
}

static int check_job(struct restore *r)
{
	const struct task *root = r->tree.tasks[0];

	if (r->opts->shell_job || (root->vsid.v == root->vpid.v && tree_find(&r->tree, root->vpgid)))
		return 0;
	return log_refusal(
	    -EINVAL,
	    "pid %d (%s): its session (leader %d) or process group (%d) is not in the checkpoint: it was a "
	    "shell's job; give --shell-job (-j) to put it into this terminal's",
	    root->vpid.v, root->comm, root->vsid.v, root->vpgid.v);
}

static int read_images(struct restore *r)
{
	int err = tree_read(r);

	if (err)
		return err;
	hang_restore_parts(r);
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->read_images)
			err = (*p)->read_images(r);
	return err ?: files_read(r);
}

static int check(struct restore *r)
{
	int err, part;

	log_info("%zu tasks in the checkpoint; checking", r->tree.n_tasks);
	err = check_job(r);

	part = check_tasks(r);
	err = err ?: part;
	part = files_check(r);
	err = err ?: part;
	part = pids_check(r);
	err = err ?: part;
	if (log_refusals()) {
		log_errno(0, "%u reason%s against this restore, see above; nothing was started", log_refusals(),
		          log_refusals() > 1 ? "s" : "");
		err = err ?: -EINVAL;
	}
	return err;
}

/* ---- building ---- */

static int build_all(struct build *b, struct stages *stages)
{
	struct restore *r = b->r;
	uint64_t start = clock_now_us();
	int err = build_open(r, b);

	fault_point("area made");
	if (!err)
		err = build_processes(b);
	r->stats->forking_time = clock_now_us() - start;
	log_info("%zu processes made, with their memory", b->plan->n_nodes);
	fault_point("processes built");
	if (!err)
		err = stages_run(stages, STAGE_SETUP_NAMESPACES, r->tree.tasks[0]->pid)
		          ?: stages_run(stages, STAGE_POST_SETUP_NAMESPACES, r->tree.tasks[0]->pid);
	if (!err)
		err = build_groups(b);
	fault_point("groups built");
	if (!err)
		err = build_tasks(b);
	fault_point("tasks built");
	if (!err)
		err = build_finish(b);
	fault_point("at the last instruction");
	if (!err)
		log_info("all threads stand at their last instruction");
	return err;
}

static int build_and_release(struct restore *r, struct stages *stages)
{
	struct build b = { .r = r, .area_fd = -1 };
	struct deadlock_watch *watch = NULL;
	pid_t root;
	int err = plan_make(r, liveness_common_size(), &b.plan);

	if (!err)
		err = deadlock_watch_begin(&r->tree, &watch) ?: build_all(&b, stages);
	root = r->tree.tasks[0]->pid;
	if (!err)
		err = work_dir_write_pidfile(r->opts, root);
	if (!err)
		err = stages_run(stages, STAGE_POST_RESTORE, root);
	if (!err)
		err = stages_run(stages, STAGE_PRE_RESUME, root);
	if (!err)
		err = tcp_finish(r);
	files_close(r);
	deadlock_watch_end(watch);
	fault_point("about to let go");
	if (!err)
		err = build_release(&b, r->opts->leave_stopped);
	if (err) {
		tcp_abort(r);
		build_abort(&b);
	} else {
		log_info("restored: pid %d runs", root);
	}
	build_close(&b);
	tcp_close_restore(r);
	return err;
}

static int run_stages(struct restore *r, struct stages *stages)
{
	int err = inherited_check(r->opts);

	if (!err)
		err = image_dir_open(r->opts->images_dir, r->opts->allow_edited_images, &r->dir);
	if (!err)
		err = read_images(r);
	if (!err)
		err = check(r);
	if (!err)
		err = guardian_start(&r->guardian);
	fault_point("images read");
	if (!err)
		err = stages_run(stages, STAGE_PRE_RESTORE, 0);
	if (!err)
		err = build_and_release(r, stages);
	if (r->guardian)
		guardian_stop(r->guardian, err != 0);
	return err;
}

/* Without --restore-detached the tool stays as long as the root task; its exit status is not ours, as in CRIU. */
static int after_restore(const struct options *o, const struct stages *stages, pid_t root)
{
	int status;

	if (o->exec_cmd) {
		if (setrlimit(RLIMIT_NOFILE, &stages->files))
			return log_errno(-errno, "the limit of open files that %s is to have", o->exec_argv[0]);
		execvp(o->exec_argv[0], o->exec_argv);
		return log_errno(-errno, "executing %s", o->exec_argv[0]);
	}
	if (o->restore_detached || o->restore_sibling)
		return 0;
	while (waitpid(root, &status, 0) < 0 && errno == EINTR)
		;
	return 0;
}

int cmd_restore(const struct options *o, struct stages *stages)
{
	struct stats stats = { .started = clock_now_us() };
	struct restore r = { .opts = o, .arena = arena_new(), .stats = &stats };
	sigset_t all, before;
	pid_t root = 0;
	int err;

	if (!r.arena)
		return -ENOMEM;
	fault_init(o->kill_at);
	files_raise_limit();
	/* Restored tasks start with the mask that they inherit, and must not be interrupted before they have their own.
	 */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	err = run_stages(&r, stages);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!err) {
		root = r.tree.tasks[0]->pid;
		stats.restore_time = clock_now_us() - stats.started;
		err = stats_finish(o, &stats, CMD_RESTORE);
	}
	if (!err)
		stages_run(stages, STAGE_POST_RESUME, root);
	image_dir_close(r.dir);
	arena_free(r.arena);
	return err ?: after_restore(o, stages, root);
}
