/* SPDX-License-Identifier: GPL-2.0-only */
/* criu dump: the stages in order. Everything up to commit() can be taken back, and is when it fails or the tool is
 * killed. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "freeze/freeze.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "cmd/cmd.h"
#include "files/files.h"
#include "options/stages.h"
#include "image/image_dir.h"
#include "tree/kobj_ids.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/deadlock_watch.h"
#include "tree/inventory.h"
#include "tree/tree_image.h"
#include "mm/mm.h"
#include "sock/tcp/tcp.h"
#include "task/fs.h"

static bool lives(const struct task *t)
{
	return t->state != TASK_DEAD;
}

/* ---- what is read while the agent is inside ---- */

static int read_registers(struct dump *d, struct thread *th)
{
	struct proc_status *status = arena_new_of(d->arena, struct proc_status);
	int err = proc_read_status(th->task->dump->proc_fd, th->tid, d->arena, status);

	if (err)
		return log_errno(err, "%s: reading its status", task_thread_name(th));
	th->dump->status = status;

	th->dump->regs = arch_regs_get(d->arena, th->tid);
	if (!th->dump->regs)
		return -ESRCH;
	err = ptrace_get_sigmask(th->tid, &th->dump->sigmask);
	return err ? log_errno(err, "%s: reading its signal mask", task_thread_name(th)) : 0;
}

static bool wants(const struct task_part *p, const struct thread *th)
{
	return th == th->task->threads || p->per_thread;
}

static int peek(struct dump *d, struct thread *th)
{
	int err = read_registers(d, th);

	th->core->thread_core = arena_msg(d->arena, ThreadCoreEntry, thread_core_entry);
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->peek && wants(*p, th))
			err = (*p)->peek(d, th);
	return err;
}

static int open_task(struct dump *d, struct task *t)
{
	char path[32];

	t->dump->pidfd = t->dump->proc_fd = -1;
	for (size_t i = 0; i < t->n_threads; i++) {
		struct thread *th = &t->threads[i];

		th->dump = arena_new_of(d->arena, struct dump_thread);
		th->core = arena_msg(d->arena, CoreEntry, core_entry);
	}
	t->threads[0].core->tc = arena_msg(d->arena, TaskCoreEntry, task_core_entry);
	t->threads[0].core->tc->task_state = t->state;
	t->threads[0].core->tc->comm = arena_strdup(d->arena, t->comm);
	t->threads[0].core->mtype = CORE_ENTRY__MARCH__X86_64;
	if (!lives(t))
		return task_read_zombie(t->pid, t->threads[0].core->tc);
	snprintf(path, sizeof(path), "/proc/%d", t->pid);
	t->dump->pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	t->dump->proc_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dump->pidfd < 0 || t->dump->proc_fd < 0)
		return log_errno(-errno, "%s: opening its pidfd and %s", task_name(t), path);
	for (size_t i = 0; i < t->n_threads; i++) {
		int err = peek(d, &t->threads[i]);

		if (err)
			return err;
	}
	return 0;
}

static void close_tasks(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct dump_task *dt = d->tree.tasks[i]->dump;

		if (!dt)
			continue;
		if (dt->pidfd > 0)
			close(dt->pidfd);
		if (dt->proc_fd > 0)
			close(dt->proc_fd);
		dt->pidfd = dt->proc_fd = -1;
	}
}

#define PARTS_MAX 32

/* What a thread was asked: the first operation and the data of each row. */
struct asked {
	int first[PARTS_MAX];
	void *data[PARTS_MAX];
};

/* Asks all rows, and sets the thread's agent to work without waiting for it. */
static int ask_thread(struct dump *d, struct thread *th, struct asked *asked)
{
	struct batch *b = agent_batch(th->dump->agent, "asking for its state");
	int err = agent_wait(th->dump->agent);

	for (size_t i = 0; !err && task_parts[i]; i++) {
		if (!task_parts[i]->ask || !wants(task_parts[i], th))
			continue;
		asked->first[i] = (int)b->n;
		batch_what(b, task_parts[i]->name);
		err = task_parts[i]->ask(d, th, b, &asked->data[i]);
	}
	if (!err)
		batch_start(b);
	return err;
}

/* Hands the answers round. */
static int dump_thread(struct dump *d, struct thread *th, const struct asked *asked)
{
	struct agent *a = th->dump->agent;
	int err = batch_finish(&a->batch);

	for (size_t i = 0; !err && task_parts[i]; i++) {
		struct answers answers = { a->ops + asked->first[i], asked->data[i] };

		if (task_parts[i]->dump && wants(task_parts[i], th))
			err = task_parts[i]->dump(d, th, &answers);
	}
	return err;
}

static int dump_registers(struct dump *d, struct thread *th)
{
	struct thread_regs *regs = arch_regs_dup(d->arena, th->dump->regs);

	arch_regs_settle_restart(regs);
	return arch_regs_to_core(d->arena, regs, th->core);
}

/* All threads work side by side; what they answer stays in their slots until it is read. */
static int ask_inside(struct dump *d, struct task *t)
{
	struct asked *asked = arena_array(d->arena, struct asked, t->n_threads);
	int err = 0;

	for (size_t i = 1; !err && i < t->n_threads; i++)
		err = agent_infect_thread(d, &t->threads[i]);
	for (size_t i = 0; !err && i < t->n_threads; i++)
		err = ask_thread(d, &t->threads[i], &asked[i]);
	for (size_t i = 0; !err && i < t->n_threads; i++) {
		err = dump_thread(d, &t->threads[i], &asked[i]);
		if (!err)
			err = dump_registers(d, &t->threads[i]);
	}
	return err;
}

static int dump_inside(struct dump *d, struct task *t)
{
	int err = agent_infect(d, t), left;

	log_debug("%s: asking %zu threads from inside", task_name(t), t->n_threads);

	fault_point("agent entered");
	if (!err)
		err = ask_inside(d, t);
	fault_point("agent asked");
	left = agent_cure(d, t);
	fault_point("agent left");
	return err ?: left;
}

/* ---- the stages ---- */

static int freeze(struct dump *d)
{
	uint64_t start = clock_now_us();
	size_t threads = 0;
	int err = freeze_tree(d->opts, d->guardian, d->arena, d->opts->tree, &d->tree);

	for (size_t i = 0; i < d->tree.n_tasks; i++)
		threads += d->tree.tasks[i]->n_threads;
	log_info("frozen: %zu tasks, %zu threads", d->tree.n_tasks, threads);
	d->stats->freezing_time = clock_now_us() - start;
	d->stats->frozen_time = clock_now_us();
	for (size_t i = 0; !err && i < d->tree.n_tasks; i++) {
		d->tree.tasks[i]->dump = arena_new_of(d->arena, struct dump_task);
		err = open_task(d, d->tree.tasks[i]);
	}
	return err;
}

/* A tree whose session or process group comes from outside can only come back with the tool's own. */
static int check_job(struct dump *d)
{
	const struct task *root = d->tree.tasks[0];

	if (d->opts->shell_job || (tree_find(&d->tree, root->vsid) == root && tree_find(&d->tree, root->vpgid)))
		return 0;
	return log_refusal(
	    -EINVAL,
	    "%s: its session (leader %d) or process group (%d) is outside of the tree: it is a shell's job; "
	    "give --shell-job (-j), here and at restore, or dump from the session's leader on",
	    task_name(root), root->vsid.v, root->vpgid.v);
}

static int dump_task_files(struct dump *d, struct task *t)
{
	int err = 0, part;

	log_debug("%s: descriptors, directories, mappings", task_name(t));
	if (tree_first_files(&d->tree, t) == t)
		err = files_dump_task(d, t);
	part = fs_dump(d, t);
	err = err ?: part;
	if (tree_first_vm(&d->tree, t) == t) {
		part = mm_dump(d, t);
		err = err ?: part;
	}
	return err;
}

/* Rows that had to wait until everything was known. */
static int collected(struct dump *d)
{
	int err = files_dump_collected(d), part;

	for (const struct task_part *const *p = task_parts; *p; p++) {
		part = (*p)->all_collected ? (*p)->all_collected(d) : 0;
		err = err ?: part;
	}
	return err;
}

/* Reads everything but pages. Refusals are collected; only what makes going on pointless ends it early. */
static int collect(struct dump *d)
{
	int err = kobj_ids_dump(d), part;

	tree_index(&d->tree, d->arena);
	part = check_job(d);
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		if (!lives(t))
			continue;
		part = tree_first_vm(&d->tree, t) == t ? mm_collect(d, t) : 0;
		if (part && !log_refusals())
			return part;
		if (!part)
			part = dump_inside(d, t);
		if (part && !log_refusals())
			return part;
		part = dump_task_files(d, t);
		if (part && !log_refusals())
			return part;
	}
	part = collected(d);
	err = err ?: part;
	if (log_refusals()) {
		log_errno(0, "%u reason%s against this dump, see above; nothing was changed", log_refusals(),
		          log_refusals() > 1 ? "s" : "");
		err = err ?: -EOPNOTSUPP;
	}
	return err;
}

static int write_rest(struct dump *d)
{
	int err;

	log_info("everything can be dumped; writing pages");
	err = mm_dump_pages(d);
	log_info("%llu pages written of %llu looked at", (unsigned long long)d->stats->pages_written,
	         (unsigned long long)d->stats->pages_scanned);

	fault_point("pages written");
	for (const struct task_part *const *p = task_parts; !err && *p; p++)
		if ((*p)->write_images)
			err = (*p)->write_images(d);
	if (!err)
		err = files_dump_finish(d);
	if (!err)
		err = tree_write(d);
	if (!err)
		err = inventory_write(d);
	fault_point("images written");
	return err ?: image_dir_seal(d->dir);
}

static int exitkill_all(struct dump *d)
{
	int err = 0;

	for (size_t i = 0; !err && i < d->tree.n_tasks; i++) {
		struct task *t = d->tree.tasks[i];

		for (size_t k = 0; !err && lives(t) && k < t->n_threads; k++)
			err = ptrace_set_options(t->threads[k].tid, PTRACE_O_EXITKILL);
		if (err)
			return log_errno(err, "%s: it was killed from outside while it was dumped", task_name(t));
	}
	return 0;
}

/* While the tool still has them: they would run on until the guardian gets to them, beyond what the images say. */
static int note_kills(struct dump *d)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		struct undo u = {
			.type = FORWARD_KILL,
			.while_stopped = true,
			.fd = -1,
			.pid = t->pid,
			.start_time = proc_start_time(t->pid),
		};
		int number = guardian_note(d->guardian, &u);

		if (number < 0)
			return number;
	}
	return 0;
}

/* The one place after which there is no way back. */
static int commit(struct dump *d, struct stages *stages)
{
	bool kill_them = !d->opts->leave_running && !d->opts->leave_stopped;
	int err = stages_run(stages, STAGE_POST_DUMP, d->opts->tree);

	if (!err && kill_them)
		err = tcp_hand_over(d);
	fault_point("lock handed over");
	if (!err && kill_them)
		err = note_kills(d);
	fault_point("about to commit");
	if (!err)
		err = guardian_check(d->guardian);
	if (err)
		return err;
	guardian_commit(d->guardian);
	fault_point("committed");
	log_info("committed: the tasks %s", kill_them                ? "are killed"
	                                    : d->opts->leave_stopped ? "stay stopped"
	                                                             : "run on");
	if (kill_them && !exitkill_all(d))
		tcp_silence(d);
	fault_point("exitkill set");
	if (!kill_them)
		tcp_unlock_dump(d, true);
	files_dump_release(d);
	d->stats->frozen_time = clock_now_us() - d->stats->frozen_time;
	return thaw_tree(&d->tree, kill_them ? THAW_KILL : d->opts->leave_stopped ? THAW_STOP : THAW_RUN);
}

static int run_stages(struct dump *d, struct stages *stages)
{
	struct deadlock_watch *watch = NULL;
	int err = stages_run(stages, STAGE_PRE_DUMP, d->opts->tree), undone;

	fault_point("before freezing");
	if (!err)
		err = freeze(d);
	fault_point("frozen");
	if (!err)
		err = deadlock_watch_begin(&d->tree, &watch);
	if (!err)
		err = collect(d);
	if (!err)
		err = write_rest(d);
	deadlock_watch_end(watch);
	fault_point("sealed");
	if (!err) {
		err = commit(d, stages);
		if (!err)
			return 0;
	}
	log_info("rolling back: the tree runs on, the images go");
	files_dump_release(d);
	tcp_unlock_dump(d, true);
	undone = d->tree.n_tasks ? thaw_tree(&d->tree, THAW_RUN) : 0;
	image_dir_discard(d->dir);
	return err ?: undone;
}

static int note_image(void *arg, const char *name)
{
	struct dump *d = arg;
	struct undo u = { .type = UNDO_IMAGES, .fd = image_dir_fd(d->dir), .path = name };
	int number = guardian_note(d->guardian, &u);

	return number < 0 ? number : 0;
}

static int check_target(const struct options *o)
{
	pid_t pid = getpid();

	if (o->tree <= 0)
		return log_errno(-EINVAL, "dump needs the root of a tree: -t PID");
	for (; pid > 0; pid = proc_ppid(pid))
		if (pid == o->tree)
			return log_errno(-EINVAL, "pid %d is this tool or one of its ancestors; it cannot dump itself",
			                 o->tree);
	return 0;
}

int cmd_dump(const struct options *o, struct stages *stages)
{
	struct stats stats = { .started = clock_now_us() };
	struct dump d = { .opts = o, .arena = arena_new(), .stats = &stats };
	int err = d.arena ? check_target(o) : -ENOMEM;

	fault_init(o->kill_at);
	files_raise_limit();
	if (!err)
		err = guardian_start(&d.guardian);
	if (!err)
		err = inventory_new_run(&d);
	if (!err)
		err = image_dir_create(o->images_dir, &d.dir);
	if (!err) {
		image_dir_on_create(d.dir, note_image, &d);
		err = run_stages(&d, stages);
	}
	tcp_unlock_dump(&d, false);
	tcp_close_dump(&d);
	close_tasks(&d);
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
