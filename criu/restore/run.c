/* SPDX-License-Identifier: GPL-2.0-only */
/* The tree is built, all threads come to their last instruction, and are let go at once. */
#include <linux/sched.h>

#include "agent/liveness.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "options/work_dir.h"
#include "proc/ns_type.h"
#include "proc/proc.h"
#include "restore/build.h"
#include "restore/own_root.h"
#include "restore/restore.h"
#include "tree/deadlock_watch.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"

/* Of the types that are named by their flags. Time namespaces are how a tree gets its clocks, and nobody's to fill. */
static bool root_has_own(const struct restore *r, uint64_t flags)
{
	_cleanup_close_ int own = proc_open(getpid()), proc = proc_open(r->tree.tasks[0]->pid);
	bool has = false;

	for (size_t i = 0; !has && i < NAMESPACE_TYPES; i++) {
		uint64_t ours, its;

		if (!(flags & ns_types[i].flag) || own < 0 || proc < 0 || ns_type_inode(own, ns_types[i].name, &ours) ||
		    ns_type_inode(proc, ns_types[i].name, &its))
			continue;
		has = ours != its;
	}
	return has;
}

/* The tree's namespaces are there, and empty network namespaces are to be filled from outside: no socket exists yet. */
static int tell_namespaces(struct restore *r, struct stages *stages)
{
	pid_t root = r->tree.tasks[0]->pid;

	if (!root_has_own(r, ~(uint64_t)CLONE_NEWTIME))
		return 0;
	return stages_run(stages, STAGE_SETUP_NAMESPACES, root)
	           ?: stages_run(stages, STAGE_POST_SETUP_NAMESPACES, root);
}

static int tell_standing(struct restore *r, struct stages *stages)
{
	pid_t root = r->tree.tasks[0]->pid;
	int err = stages_run(stages, STAGE_POST_RESTORE, root);

	if (!err && root_has_own(r, CLONE_NEWNET))
		stages_run(stages, STAGE_NETWORK_UNLOCK, root); /* a failure is logged */
	return err ?: stages_run(stages, STAGE_PRE_RESUME, root);
}

static int build_all(struct build *b, struct stages *stages)
{
	struct restore *r = b->r;
	uint64_t start = clock_now_us();
	int err = build_open(r, b);

	fault_point("area made");
	if (!err)
		err = subsys_run(before_start, r);
	fault_point("before the first process");
	stats_lap(r->stats, "namespaces, file systems, shared memory");
	if (!err)
		err = build_processes(b);
	r->stats->forking_time = clock_now_us() - start;
	stats_lap(r->stats, "processes, with their memory");
	log_info("%zu processes made, with their memory", b->plan->n_nodes);
	fault_point("processes built");
	if (!err)
		err = tell_namespaces(r, stages);
	log_about("pstree.img", 0);
	if (!err)
		err = build_groups(b);
	log_about(NULL, 0);
	fault_point("groups built");
	stats_lap(r->stats, "scripts of namespaces, and groups");
	if (!err)
		err = build_tasks(b);
	stats_lap(r->stats, "files, and tasks by their agents");
	fault_point("tasks built");
	if (!err)
		err = build_finish(b);
	stats_lap(r->stats, "threads and registers");
	fault_point("at the last instruction");
	if (!err)
		log_info("all threads stand at their last instruction");
	return err;
}

int restore_build(struct restore *r, struct stages *stages)
{
	struct build b = { .r = r, .area_fd = -1 };
	struct deadlock_watch *watch = NULL;
	pid_t root;
	int err = plan_make(r, liveness_common_size(), &b.plan);

	if (!err)
		err = subsys_run(before_threads, r);
	if (!err)
		err = deadlock_watch_begin(&r->tree, &watch) ?: build_all(&b, stages);
	root = r->tree.tasks[0]->pid;
	if (!err)
		err = work_dir_write_pidfile(r->opts, root);
	if (!err)
		err = tell_standing(r, stages);
	stats_lap(r->stats, "post-restore scripts");
	if (!err)
		err = subsys_run(all_standing, r);
	if (err)
		subsys_tell(undo, r);
	deadlock_watch_end(watch);
	own_root_end(r); /* the program may end as soon as it is let go */
	fault_point("about to let go");
	if (!err)
		err = build_release(&b, r->opts->leave_stopped);
	if (err) {
		build_abort(&b);
	} else {
		log_info("restored: pid %d runs", root);
	}
	stats_lap(r->stats, "letting go");
	build_close(&b);
	return err;
}
