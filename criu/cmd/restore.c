/* SPDX-License-Identifier: GPL-2.0-only */
/* criu restore: everything is read and checked, then built, then let go at once. */
#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "cmd/cmd.h"
#include "cmd/script_keeper.h"
#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "options/inherited.h"
#include "proc/own_pid_ns.h"
#include "restore/as_init.h"
#include "restore/job.h"
#include "restore/own_root.h"
#include "restore/restore.h"
#include "restore/sibling.h"
#include "tree/subsys.h"

static int open_images(struct restore *r, struct stages *stages)
{
	const struct options *o = r->opts;
	int err = o->stream ? stages_run(stages, STAGE_PRE_STREAM, 0) : 0;

	if (err)
		return err;
	return o->stream ? image_dir_open_stream(o->images_dir, o->timeout, o->allow_edited_images, &r->dir)
	                 : image_dir_open(o->images_dir, o->allow_edited_images, &r->dir);
}

/* What undoes a failed restore may need descriptors that subsystems close when they are done. */
static int end_build(struct restore *r, int err)
{
	if (!err)
		subsys_tell(done, r);
	guardian_stop(r->guardian, err != 0);
	if (err)
		subsys_tell(done, r);
	return err;
}

static int build_tree(struct restore *r, struct stages *stages)
{
	struct script_keeper keeper;
	int err;

	script_keeper_begin(&keeper, r->guardian, stages);
	fault_point("images read");
	err = stages_run(stages, STAGE_PRE_RESTORE, 0);
	stats_lap(r->stats, "pre-restore scripts, and criu's own processes");
	err = err ?: restore_build(r, stages);
	script_keeper_end(stages);
	return end_build(r, err);
}

static int check_options(const struct options *o)
{
	if (o->lazy_pages && o->stream)
		return log_errno(-EINVAL, "--lazy-pages and --stream exclude each other: a stream is read once");
	return inherited_check(o);
}

static int restore_tree(struct restore *r, struct stages *stages)
{
	int err = own_pid_ns_check() ?: check_options(r->opts);

	if (!err)
		err = open_images(r, stages);
	stats_lap(r->stats, "start");
	if (!err)
		err = restore_read_images(r);
	stats_lap(r->stats, "reading images");
	if (!err)
		err = restore_check(r);
	stats_lap(r->stats, "checking");
	if (!err && own_root_possible(r))
		err = own_root_part(r);
	if (!err)
		err = as_init_part(r) ?: sibling_part(r);
	if (!err)
		err = guardian_start(&r->guardian);
	return err ?: build_tree(r, stages);
}

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

/*
 * Restored tasks start with the mask that they inherit, and must not be interrupted before they have their own. What
 * ends criu is let through until the guardian stands, and blocked by guardian_start().
 */
static void block_most(sigset_t *before)
{
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		sigdelset(&set, end_signals[i]);
	sigprocmask(SIG_BLOCK, &set, before);
}

/* The restore stands: a signal ends a script that is waited for, and criu ends as it should. */
static void run_last_scripts(const struct options *o, struct stages *stages, pid_t root)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM); /* what is left of a signal before, see guardian_stop() */
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++) {
		struct sigaction now;

		if (!sigaction(end_signals[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaddset(&set, end_signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	stages->ended_by = &set;
	stages->root_changed = o->shell_job ? job_look : NULL;
	stages->root = root;
	stages_run(stages, STAGE_POST_RESUME, root);
	stages->ended_by = NULL;
}

/* What follows is another task: to wait for the tree. A signal that came while the restore ended ends that. */
static void default_signals(void)
{
	const struct itimerval none = { 0 };

	setitimer(ITIMER_REAL, &none, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++) {
		struct sigaction now;

		if (!sigaction(end_signals[i], NULL, &now) && now.sa_handler != SIG_IGN)
			signal(end_signals[i], SIG_DFL);
	}
	if (guardian_late_signal())
		raise(guardian_late_signal());
}

int cmd_exec(const struct options *o, const struct stages *stages, pid_t root)
{
	char pid[16];

	if (setrlimit(RLIMIT_NOFILE, &stages->files))
		return log_errno(-errno, "setrlimit(RLIMIT_NOFILE) for %s", o->exec_argv[0]);
	snprintf(pid, sizeof(pid), "%d", root);
	if (setenv("CRTOOLS_INIT_PID", pid, 1))
		return log_errno(-errno, "setenv(CRTOOLS_INIT_PID) for %s", o->exec_argv[0]);
	execvp(o->exec_argv[0], o->exec_argv);
	return log_errno(-errno, "execvp of %s", o->exec_argv[0]);
}

/* Without --restore-detached criu stays as long as the root task; only a job's exit status is ours, for its shell. */
static int after_restore(const struct restore *r, const struct stages *stages, pid_t root, const sigset_t *mask)
{
	const struct options *o = r->opts;
	int status;

	if (!o->exec_cmd && (o->restore_detached || o->restore_sibling || r->own_root))
		return 0;
	default_signals();
	if (o->shell_job && !o->exec_cmd) {
		status = job_wait(root, mask);
		if (status < 0)
			return status;
		job_end(status, r->below_init);
	}
	sigprocmask(SIG_SETMASK, mask, NULL);
	if (o->exec_cmd)
		return cmd_exec(o, stages, root);
	if (r->below_init)
		as_init_wait(root);
	else
		while (waitpid(root, &status, 0) < 0 && errno == EINTR)
			;
	return 0;
}

int cmd_restore(const struct options *o, struct stages *stages)
{
	struct stats stats = { .started = clock_now_us() };
	struct restore r = { .opts = o, .arena = arena_new(), .stats = &stats, .stages = stages };
	sigset_t before;
	pid_t root = 0;
	int err;

	if (!r.arena)
		return -ENOMEM;
	fault_init(o->kill_at);
	files_raise_limit();
	state_make_all_restore(&r);
	block_most(&before);
	err = restore_tree(&r, stages);
	subsys_tell(leave, &r);
	if (!err) {
		root = r.tree.tasks[0]->pid;
		stats.restore_time = clock_now_us() - stats.started;
		stats_lap(&stats, "end");
		if (stats_finish(o, &stats, CMD_RESTORE))
			log_warn("the tree is restored, and runs; its figures (stats-restore) could not be written");
	}
	if (!err)
		run_last_scripts(o, stages, root);
	image_dir_close(r.dir);
	own_pids_avoid(NULL, 0);
	arena_free(r.arena);
	return err ?: after_restore(&r, stages, root, &before);
}
