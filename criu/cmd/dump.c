/* SPDX-License-Identifier: GPL-2.0-only */
/* criu dump: the stages in order. Everything up to the commit can be taken back, and is when it fails or criu is
 * killed. */
#include "cmd/cmd.h"
#include "cmd/script_keeper.h"
#include "dump/dump.h"
#include "files/files.h"
#include "image/image_dir.h"
#include "image/image_exchange.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/deadlock_watch.h"
#include "tree/inventory.h"
#include "tree/subsys.h"

static int dump_tree(struct dump *d, struct stages *stages)
{
	struct deadlock_watch *watch = NULL;
	int err = stages_run(stages, STAGE_PRE_DUMP, d->opts->tree), undone;

	fault_point("before freezing");
	if (!err)
		guardian_hold_stops(d->guardian, arena_printf(d->arena, "the tree of pid %d stands still for this dump",
		                                              d->opts->tree));
	if (!err)
		err = dump_freeze(d);
	fault_point("frozen");
	if (!err)
		err = deadlock_watch_begin(&d->tree, &watch);
	if (!err)
		err = dump_collect(d);
	if (!err)
		err = dump_write(d);
	deadlock_watch_end(watch);
	fault_point("sealed");
	if (!err)
		err = dump_commit(d, stages);
	if (!err)
		return 0;
	undone = dump_rollback(d);
	return err ?: undone;
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
	int number = guardian_note(d->guardian, &before);

	if (number >= 0)
		number = guardian_note(d->guardian, &after);
	return number < 0 ? number : 0;
}

static int check_target(const struct options *o)
{
	pid_t pid = getpid();

	if (o->tree <= 0)
		return log_errno(-EINVAL, "dump needs the root of a tree: -t PID");
	for (; pid > 0; pid = proc_ppid(pid))
		if (pid == o->tree)
			return log_errno(
			    -EINVAL, "pid %d is criu itself or one of its ancestors; it cannot dump itself", o->tree);
	return 0;
}

int cmd_dump(const struct options *o, struct stages *stages)
{
	struct stats stats = { .started = clock_now_us() };
	struct dump d = { .opts = o, .arena = arena_new(), .stats = &stats };
	struct script_keeper keeper;
	int err = d.arena ? check_target(o) : -ENOMEM;

	fault_init(o->kill_at);
	files_raise_limit();
	if (!err)
		err = guardian_start(&d.guardian);
	if (!err)
		script_keeper_begin(&keeper, d.guardian, stages);
	if (!err && o->kill_guardian)
		fault_kill_also(guardian_pid(d.guardian));
	if (!err)
		err = inventory_new_run(&d);
	if (!err)
		err = image_dir_create(o->images_dir, &d.dir);
	if (!err)
		err = note_images(&d);
	if (!err) {
		state_make_all_dump(&d);
		err = dump_tree(&d, stages);
		subsys_tell(end, &d);
	}
	dump_close_tasks(&d);
	script_keeper_end(stages);
	if (d.guardian)
		guardian_stop(d.guardian, err != 0);
	if (!err)
		err = work_dir_write_pidfile(o, o->tree);
	if (!err)
		err = stats_finish(o, &stats, CMD_DUMP);
	image_dir_close(d.dir);
	arena_free(d.arena);
	return err;
}
