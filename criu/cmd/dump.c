/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu dump and pre-dump: the stages in order. Everything up to the commit can be taken back, and is when it fails or
 * criu is killed.
 */
#include "cmd/cmd.h"
#include "cmd/script_keeper.h"
#include "dump/dump.h"
#include "files/files.h"
#include "image/image_dir.h"
#include "image/image_exchange.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/work_dir.h"
#include "proc/own_pid_ns.h"
#include "proc/proc.h"
#include "tree/deadlock_watch.h"
#include "tree/inventory.h"
#include "tree/subsys.h"

/* The tree stands still; query-ext-files adds to what stays outside of the checkpoint. */
static int tell_frozen(struct dump *d, struct stages *stages)
{
	int err = dump_lock_network(d, stages);

	return err ?: stages_run(stages, STAGE_QUERY_EXT_FILES, d->opts->tree);
}

static int dump_tree(struct dump *d, struct stages *stages)
{
	struct deadlock_watch *watch = NULL;
	int err = stages_run(stages, STAGE_PRE_DUMP, d->opts->tree), undone;

	fault_point("before freezing");
	if (!err)
		guardian_hold_stops(d->guardian, arena_printf(d->arena, "the tree of pid %d stands still for this dump",
		                                              d->opts->tree));
	stats_lap(d->stats, "start and pre-dump scripts");
	if (!err)
		err = dump_freeze(d);
	fault_point("frozen");
	if (!err)
		err = tell_frozen(d, stages);
	stats_lap(d->stats, "freezing, and registers");
	if (!err)
		err = deadlock_watch_begin(&d->tree, &watch);
	if (!err)
		err = dump_collect(d);
	if (!err)
		err = dump_write(d);
	deadlock_watch_end(watch);
	fault_point("sealed");
	stats_lap(d->stats, "images");
	if (!err)
		err = dump_commit(d, stages);
	if (!err)
		return 0;
	undone = dump_rollback(d, stages);
	return err ?: undone;
}

static int pre_dump_tree(struct dump *d, struct stages *stages)
{
	int err;

	fault_point("before freezing");
	guardian_hold_stops(d->guardian,
	                    arena_printf(d->arena, "the tree of pid %d stands still for this pre-dump", d->opts->tree));
	stats_lap(d->stats, "start");
	err = dump_freeze(d);
	fault_point("frozen");
	stats_lap(d->stats, "freezing, and registers");
	if (!err)
		return dump_ahead(d);
	dump_rollback(d, stages);
	return err;
}

static int undo_images(const struct undo *u)
{
	return image_exchange_take_back(u->fd, u->path, u->size);
}

static int finish_images(const struct undo *u)
{
	return image_exchange_settle(u->fd, u->path, 0);
}

/* The older checkpoint of the directory counts until the commit, the new one from there on. */
static int note_images(struct dump *d)
{
	const struct undo before = {
		.type = UNDO_CALL,
		.call = undo_images,
		.fd = image_dir_fd(d->dir),
		.path = d->opts->images_dir,
		.size = image_dir_was_empty(d->dir),
	};
	const struct undo after = {
		.type = FORWARD_CALL, .call = finish_images, .fd = image_dir_fd(d->dir), .path = d->opts->images_dir
	};
	int number;

	if (image_dir_streams(d->dir)) /* nothing is written into it */
		return 0;
	number = guardian_note(d->guardian, &before);

	if (number >= 0)
		number = guardian_note(d->guardian, &after);
	return number < 0 ? number : 0;
}

static int make_images(struct dump *d, struct stages *stages)
{
	const struct options *o = d->opts;
	int err = o->stream ? stages_run(stages, STAGE_PRE_STREAM, o->tree) : 0;

	if (err)
		return err;
	return o->stream ? image_dir_create_stream(o->images_dir, o->timeout, &d->dir)
	                 : image_dir_create(o->images_dir, &d->dir);
}

static int check_options(const struct options *o)
{
	pid_t pid = getpid();

	if (o->tree <= 0)
		return log_errno(-EINVAL, "%s needs the root of a tree: -t PID", options_command_name(o->command));
	for (; pid > 0; pid = proc_ppid(pid))
		if (pid == o->tree)
			return log_errno(
			    -EINVAL, "pid %d is criu itself or one of its ancestors; criu cannot dump itself", o->tree);
	return 0;
}

/* After the commit: what fails now undoes nothing, and a status that says so would have the checkpoint thrown away. */
static void write_beside(const struct options *o, const struct stats *stats)
{
	if (work_dir_write_pidfile(o, o->tree))
		log_warn("the checkpoint is complete; only the pid file could not be written");
	if (stats_finish(o, stats, CMD_DUMP))
		log_warn("the checkpoint is complete; only its figures (stats-dump) could not be written");
}

static int run_dump(const struct options *o, struct stages *stages,
                    int (*do_tree)(struct dump *d, struct stages *stages))
{
	struct stats stats = { .started = clock_now_us() };
	struct dump d = { .opts = o, .arena = arena_new(), .stats = &stats };
	struct script_keeper keeper;
	bool begun = false;
	int err = d.arena ? own_pid_ns_check() ?: check_options(o) : -ENOMEM;

	d.post_dump_heard = o->n_action_scripts || stages->hooks;
	fault_init(o->kill_at);
	files_raise_limit();
	if (!err) {
		state_make_all_dump(&d);
		begun = true;
		err = subsys_run(begin, &d);
	}
	if (!err)
		err = guardian_start(&d.guardian);
	if (!err)
		script_keeper_begin(&keeper, d.guardian, stages);
	if (!err && o->kill_guardian)
		fault_kill_also(guardian_pid(d.guardian));
	if (!err)
		err = inventory_new_run(&d);
	if (!err)
		err = make_images(&d, stages);
	if (!err)
		err = note_images(&d);
	if (!err)
		err = do_tree(&d, stages);
	if (begun)
		subsys_tell(end, &d);
	dump_close_tasks(&d);
	script_keeper_end(stages);
	if (d.guardian)
		guardian_stop(d.guardian, err != 0);
	stats_lap(&stats, "end");
	if (!err)
		write_beside(o, &stats);
	image_dir_close(d.dir);
	arena_free(d.arena);
	return err;
}

int cmd_dump(const struct options *o, struct stages *stages)
{
	return run_dump(o, stages, dump_tree);
}

int cmd_pre_dump(const struct options *o, struct stages *stages)
{
	return run_dump(o, stages, pre_dump_tree);
}
