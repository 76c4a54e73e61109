/* SPDX-License-Identifier: GPL-2.0-only */
/* From messages to a whole checkpoint, and the one place after which there is no way back. */
#include <linux/sched.h>
#include <poll.h>
#include <sys/ptrace.h>

#include "dump/dump.h"
#include "dump/kill_once.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "image/image_dir.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/ns_type.h"
#include "proc/proc.h"
#include "tree/inventory.h"
#include "tree/kind.h"
#include "tree/tree_image.h"

/* How long a task that is not stopped any more may take to its end. */
#define DEATH_MS 1000

int dump_write(struct dump *d)
{
	int err = 0;

	log_info("everything can be dumped; writing images");
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->write_images)
			err = (*p)->write_images(d);
	if (!err)
		err = subsys_run(write_images, d);
	if (!err)
		err = tree_write(d);
	if (!err && !d->lets_run_early) /* pages may have a say in it */
		err = inventory_write(d);
	fault_point("images written");
	return err ?: d->lets_run_early ? 0 : image_dir_seal(d->dir);
}

static int exitkill_all(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		for (size_t k = 0; !err && t->state != TASK_DEAD && k < t->n_threads; k++)
			err = ptrace_set_options(t->threads[k].tid, PTRACE_O_EXITKILL);
		if (err)
			return log_errno(err, "%s: was killed from outside during the dump", task_name(t));
	}
	return 0;
}

/* While criu still has them: they would run on until the guardian gets to them, beyond what the images say. */
static int note_kills(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		struct undo u = {
			.type = FORWARD_KILL,
			.while_stopped = true,
			.fd = -1,
			.pid = task_id(t),
			.start_time = t->dead_leader ? proc_start_time(t->dead_leader) : t->dump->stat->start_time,
		};
		int number = guardian_note(d->guardian, &u);

		if (number < 0)
			return number;
	}
	return 0;
}

static int prepare_kill(struct dump *d, struct kill_once **kp)
{
	int err = note_kills(d);

	return err ?: kill_once_prepare(d, kp);
}

/*
 * EXITKILL is set on one after the other, and should criu and its guardian be killed in the middle of that, some tasks
 * die and others run on. So it is for where the tree cannot be killed in one call, or its tasks would run on before
 * the guardian sees the end of criu.
 */
static void kill_tree(struct dump *d, struct kill_once *k)
{
	if (!k || !guardian_holds_criu(d->guardian))
		exitkill_all(d);
	subsys_tell(after_commit, d);
	fault_point("about to kill");
	kill_once_fire(k);
	fault_point("killed in one call");
}

/* False where that cannot be known, as of a root task that has ended: nothing comes to it. */
static bool has_own_network(const struct task *root)
{
	const struct ns_type *net = ns_type_of_flag(CLONE_NEWNET);
	_cleanup_close_ int own = proc_open(getpid()), proc = proc_open(task_id(root));
	uint64_t ours, its;

	return own >= 0 && proc >= 0 && !ns_type_inode(own, net->name, &ours) &&
	       !ns_type_inode(proc, net->name, &its) && ours != its;
}

int dump_lock_network(struct dump *d, struct stages *stages)
{
	d->network_held = has_own_network(d->tree.tasks[0]);
	return d->network_held ? stages_run(stages, STAGE_NETWORK_LOCK, d->opts->tree) : 0;
}

static void unlock_network(struct dump *d, struct stages *stages)
{
	if (d->network_held)
		stages_run(stages, STAGE_NETWORK_UNLOCK, d->opts->tree);
	d->network_held = false;
}

/*
 * The memory of all tasks is in copies: nothing of the tree is needed any more. What the tree would notice is taken
 * back as when a dump fails; the images can still fail.
 */
static int let_run(struct dump *d, struct stages *stages)
{
	int err = subsys_run(before_commit, d);

	if (!err)
		err = guardian_check(d->guardian);
	if (err)
		return err;
	subsys_tell(rollback, d);
	unlock_network(d, stages);
	fault_point("about to let the tree run");
	d->runs = true;
	d->stats->frozen_time = clock_now_us() - d->stats->frozen_time;
	err = thaw_tree(&d->tree, THAW_RUN);
	fault_point("the tree runs");
	log_info("the tree runs on; its memory is written from copies");
	stats_lap(d->stats, "the tree's going on");
	if (!err)
		err = subsys_run(write_running, d);
	fault_point("memory is written");
	return err ?: inventory_write(d) ?: image_dir_seal(d->dir);
}

static int give_up_tree(struct dump *d, struct stages *stages)
{
	bool kill_them = dump_kills_tree(d);

	if (d->runs)
		return 0;
	if (!kill_them)
		unlock_network(d, stages);
	d->stats->frozen_time = clock_now_us() - d->stats->frozen_time;
	return thaw_tree(&d->tree, kill_them ? THAW_KILL : d->opts->leave_stopped ? THAW_STOP : THAW_RUN);
}

int dump_commit(struct dump *d, struct stages *stages)
{
	bool kill_them = dump_kills_tree(d);
	struct kill_once *k = NULL;
	int err = d->lets_run_early ? let_run(d, stages) : 0;

	stats_lap(d->stats, "images");
	if (!err)
		err = stages_run(stages, STAGE_POST_DUMP, d->opts->tree);
	stats_lap(d->stats, "post-dump scripts");
	if (!err)
		err = subsys_run(hand_over, d, stages);
	if (!err && kill_them)
		err = prepare_kill(d, &k);
	if (!err && !d->runs) /* ends with the last look at signals: nothing that takes time behind it */
		err = subsys_run(before_commit, d);
	fault_point("about to commit");
	if (!err)
		err = guardian_check(d->guardian);
	if (err) {
		kill_once_free(d, k);
		return err;
	}
	guardian_commit(d->guardian);
	image_dir_keep(d->dir);
	fault_point("committed");
	log_info("committed: the tasks %s", kill_them                ? "are killed"
	                                    : d->opts->leave_stopped ? "stay stopped"
	                                                             : "run on");
	if (kill_them)
		kill_tree(d, k);
	else
		subsys_tell(after_commit, d);
	err = give_up_tree(d, stages);
	stats_lap(d->stats, "commit, and the end of the tree or its going on");
	image_dir_drop_older(d->dir);
	return err;
}

/* One that is killed leaves its stop at once, and may take a while to its end: its memory goes first. */
static bool was_killed(const struct task *t)
{
	struct pollfd p = { .fd = t->dump->pidfd, .events = POLLIN };

	if (t->state == TASK_DEAD || ptrace_is_stopped(t->pid))
		return false;
	if (p.fd >= 0)
		poll(&p, 1, DEATH_MS);
	return !proc_alive(t->pid);
}

/*
 * SIGKILL reaches a frozen task, too, and what is read of one that it has ended fails with one error or another: here
 * stands the cause. (A task that was a zombie from the beginning is none of these.)
 */
static void name_killed(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];

		if (was_killed(t))
			log_errno(-ESRCH,
			          "%s was killed from outside (SIGKILL, or the kernel for want of memory) while it was "
			          "dumped; what is left of the tree runs on; dump it again",
			          task_name(t));
	}
}

int dump_rollback(struct dump *d, struct stages *stages)
{
	int err;

	if (d->runs) { /* nothing of it is changed any more */
		log_info("rolling back: removing the new images; the tree runs already");
		image_dir_discard(d->dir);
		return 0;
	}
	name_killed(d);
	log_info("rolling back: resuming the tree and removing the new images");
	subsys_tell(rollback, d);
	unlock_network(d, stages);
	err = d->tree.n_tasks ? thaw_tree(&d->tree, THAW_RUN) : 0;
	image_dir_discard(d->dir);
	return err;
}
