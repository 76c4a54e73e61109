/* SPDX-License-Identifier: GPL-2.0-only */
/* A pre-dump: memory is stored ahead of a dump. Little else of the tree is read, and nothing is against it. */
#include <linux/capability.h>

#include "dump/dump.h"
#include "dump/inside.h"
#include "freeze/freeze.h"
#include "image/image_dir.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/own_rights.h"
#include "tree/inventory.h"
#include "tree/kobj_ids.h"
#include "tree/subsys.h"

/* The agent is of use only where writes are to be noted. */
static int look_at_task(struct dump *d, struct task *t)
{
	int err = subsys_run(pre_look, d, t);

	if (err || !d->opts->track_mem || tree_first_vm(&d->tree, t) != t)
		return err;
	return dump_inside_briefly(d, t);
}

static int list_memory(struct dump *d)
{
	int err = kobj_ids_compare(d);

	tree_index(&d->tree, d->arena);
	for (size_t i = 0; !err && i < d->tree.n_tasks; i++)
		if (d->tree.tasks[i]->state != TASK_DEAD)
			err = look_at_task(d, d->tree.tasks[i]);
	freeze_again(&d->tree);
	return err ?: subsys_run(pre_list, d);
}

static int let_run(struct dump *d, bool *stands)
{
	*stands = false;
	subsys_tell(rollback, d);
	d->stats->frozen_time = clock_now_us() - d->stats->frozen_time;
	fault_point("about to let run");
	stats_lap(d->stats, "listing memory");
	return thaw_tree(&d->tree, THAW_RUN);
}

static int complete_images(struct dump *d)
{
	int err;

	stats_lap(d->stats, "the tree's going on");
	err = subsys_run(pre_running, d);
	stats_lap(d->stats, "memory while the tree runs");

	err = err ?: inventory_write_pre(d);
	fault_point("images written");
	return err ?: image_dir_seal(d->dir);
}

static int commit_ahead(struct dump *d)
{
	int err = guardian_check(d->guardian);

	fault_point("about to commit");
	if (err)
		return err;
	guardian_commit(d->guardian);
	image_dir_keep(d->dir);
	fault_point("committed");
	subsys_tell(pre_committed, d);
	image_dir_drop_older(d->dir);
	return 0;
}

/*
 * By default pages that go to a page server are read when the tree runs: a network is not what it should stand still
 * for. CRIU's lets it run as well before it sends. Without the capability a task may be read by its tracer alone
 * (Yama).
 */
static int choose_mode(struct dump *d)
{
	struct own_rights own;
	int err = own_rights_read(d->arena, &own);

	d->reads_running =
	    d->opts->pre_dump_mode == PRE_DUMP_READ ||
	    (!d->opts->pre_dump_mode && d->opts->page_server && !err && own_rights_have(&own, CAP_SYS_PTRACE));
	return err;
}

int dump_ahead(struct dump *d)
{
	bool stands = true;
	int err = choose_mode(d) ?: list_memory(d), part;

	fault_point("memory listed");
	if (!err && d->reads_running)
		err = let_run(d, &stands);
	err = err ?: subsys_run(pre_write, d);
	part = stands ? let_run(d, &stands) : 0;
	err = err ?: part;
	err = err ?: complete_images(d);
	if (!err)
		err = commit_ahead(d);
	if (err)
		image_dir_discard(d->dir);
	return err;
}
