/* SPDX-License-Identifier: GPL-2.0-only */
/* Images are read and checked: nothing is started here. */
#include "arch/arch.h"
#include "lib/log.h"
#include "restore/as_init.h"
#include "restore/pids.h"
#include "restore/restore.h"
#include "tree/kind.h"
#include "tree/tree_image.h"

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
	int err;

	log_about("core-%lu.img", (unsigned long)th->vtid.v);
	err = arch_regs_check_core(th->core, task_thread_name(th));
	if (!err && arch_core_is_compat(th->core) != th->task->compat)
		err = log_refusal(-EOPNOTSUPP, "%s: its image is of a %s-bit program, its leader's of a %s-bit one",
		                  task_thread_name(th), th->task->compat ? "64" : "32", th->task->compat ? "32" : "64");
	for (const struct task_part *const *p = task_parts; *p; p++) {
		log_about("core-%lu.img", (unsigned long)th->vtid.v);
		if ((*p)->check && (th == th->task->threads || (*p)->per_thread)) {
			int part = (*p)->check(r, th);

			err = err ?: part;
		}
	}
	log_about(NULL, 0);
	return err;
}

static int check_threads(struct restore *r)
{
	int err = 0;

	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *t = r->tree.tasks[i];

		for (size_t k = 0; t->state != TASK_DEAD && k < t->n_threads; k++) {
			int part = check_thread(r, &t->threads[k]);

			err = err ?: part;
		}
	}
	return err;
}

static int check_shell_job(struct restore *r)
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

int restore_read_images(struct restore *r)
{
	int err = tree_read(r);

	if (err)
		return err;
	pids_avoid(r);
	hang_restore_parts(r);
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->read_images)
			err = (*p)->read_images(r);
	return err ?: subsys_run(read_images, r);
}

int restore_check(struct restore *r)
{
	int err, part;

	log_info("%zu tasks in the checkpoint; checking", r->tree.n_tasks);
	log_about("pstree.img", 0);
	err = check_shell_job(r);
	log_about(NULL, 0);

	part = as_init_check(r);
	err = err ?: part;
	part = check_threads(r);
	err = err ?: part;
	part = subsys_run_all(check, r);
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
