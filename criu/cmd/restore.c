/* SPDX-License-Identifier: GPL-2.0-only */
/* criu restore: everything is read and checked, then built, then let go at once. */
#include <signal.h>
#include <sys/wait.h>

#include "cmd/cmd.h"
#include "files/files.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "lib/own_pids.h"
#include "options/inherited.h"
#include "restore/job.h"
#include "restore/own_root.h"
#include "restore/restore.h"

static int restore_tree(struct restore *r, struct stages *stages)
{
	int err = inherited_check(r->opts);

	if (!err)
		err = image_dir_open(r->opts->images_dir, r->opts->allow_edited_images, &r->dir);
	if (!err)
		err = restore_read_images(r);
	if (!err)
		err = restore_check(r);
	if (!err && own_root_possible(r))
		err = own_root_part(r);
	if (!err)
		err = guardian_start(&r->guardian);
	fault_point("images read");
	if (!err)
		err = stages_run(stages, STAGE_PRE_RESTORE, 0);
	if (!err)
		err = restore_build(r, stages);
	if (r->guardian)
		guardian_stop(r->guardian, err != 0);
	return err;
}

/* Without --restore-detached criu stays as long as the root task; only a job's exit status is ours, for its shell. */
static int after_restore(const struct restore *r, const struct stages *stages, pid_t root)
{
	const struct options *o = r->opts;
	int status;

	if (o->exec_cmd) {
		if (setrlimit(RLIMIT_NOFILE, &stages->files))
			return log_errno(-errno, "setrlimit(RLIMIT_NOFILE) for %s", o->exec_argv[0]);
		execvp(o->exec_argv[0], o->exec_argv);
		return log_errno(-errno, "execvp of %s", o->exec_argv[0]);
	}
	if (o->restore_detached || o->restore_sibling || r->own_root)
		return 0;
	if (o->shell_job) {
		status = job_wait(root);
		if (status < 0)
			return status;
		job_end(status);
	}
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
	state_make_all_restore(&r);
	/* Restored tasks start with the mask that they inherit, and must not be interrupted before they have their own.
	 */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	err = restore_tree(&r, stages);
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!err) {
		root = r.tree.tasks[0]->pid;
		stats.restore_time = clock_now_us() - stats.started;
		err = stats_finish(o, &stats, CMD_RESTORE);
	}
	if (!err)
		stages_run(stages, STAGE_POST_RESUME, root);
	image_dir_close(r.dir);
	own_pids_avoid(NULL, 0);
	arena_free(r.arena);
	return err ?: after_restore(&r, stages, root);
}
